"""The live screen: who is away first and why, the last figures kept, nobody painting but us."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from psp.console import Board, watch_board
from psp.console._board import ago
from psp.console._screen import draw

NOW = datetime(2026, 1, 2, 10, 45, 20, tzinfo=UTC)


def shown(board: Board, *, width: int = 80, height: int = 24) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=width).print(draw(board, width=width, height=height, now=NOW))
    return [line.rstrip() for line in file.getvalue().splitlines()]


def member(name: str, **changed: object) -> dict[str, object]:
    return {
        "member": name,
        "state": "active",
        "since": "2026-01-02T10:00:00Z",
        "tree_size": 1234,
        "record_bytes": 0,
        "result_bytes": 56789,
        **changed,
    }


def away(name: str, **changed: object) -> dict[str, object]:
    return {
        "member": name,
        "state": "unreachable",
        "since": "2026-01-02T10:42:00Z",
        "cause": "the connection was refused",
        **changed,
    }


def report(*members: dict[str, object]) -> dict[str, Any]:
    return {
        "asked_at": "2026-01-02T10:45:19Z",
        "members": [it for it in members if "cause" not in it],
        "absent": [it for it in members if "cause" in it],
    }


def board(*members: dict[str, object]) -> Board:
    made = Board("98004-estate")
    made.note_status(report(*members))
    return made


def test_who_is_away_stands_first_with_its_last_figures_its_time_and_its_cause() -> None:
    found = board(member("a"), member("z"))
    found.note_status(report(member("a"), away("z")))
    lines = shown(found)
    assert lines[0] == "98004-estate · 1 of 2 there · 10:45:19 UTC"
    z, a = (next(line for line in lines if line.startswith(name)) for name in ("z ", "a "))
    assert lines.index(z) < lines.index(a)
    assert z.split() == ["z", "unreachable", "3", "min", "20", "s", "1,234", "56,789"]
    assert a.split()[:5] == ["a", "active", "45", "min", "20"]
    assert "z the connection was refused" in lines
    assert lines[-1] == "q leaves"


def test_the_figures_of_a_question_take_the_place_of_the_reports() -> None:
    found = board(member("a"))
    found.note_answer({"columns": ["member", "n", "rent"], "rows": [["a", 30, "31500.50"]]})
    found.note_status(report(member("a")))
    lines = shown(found)
    assert any(line.split()[-2:] == ["n", "rent"] for line in lines)
    assert any(line.split()[-2:] == ["30", "31,500.50"] for line in lines)
    found.note_trouble("there is no column 'rent'")
    assert "there is no column 'rent'" in shown(found)
    assert any(line.split()[-2:] == ["30", "31,500.50"] for line in shown(found))


@pytest.mark.parametrize(("width", "height"), [(80, 24), (40, 10), (200, 60), (20, 3)])
def test_it_fits_the_window_however_many_there_are(width: int, height: int) -> None:
    many = [away(f"gone-{at}", cause="x" * 300) for at in range(20)]
    found = board(*many, *(member(f"member-{at:05}") for at in range(2_000)))
    lines = shown(found, width=width, height=height)
    assert max(map(len, lines)) <= width
    assert len(lines) <= max(height, 8)
    assert any(line.startswith("and ") for line in lines)


def test_no_text_of_a_member_moves_the_cursor_or_paints() -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\u202e[red]x"
    found = board(member("a", state=evil, since=evil), away(evil, state=evil, cause=evil))
    found.note_answer({"columns": ["member", evil], "rows": [["a", evil]]})
    found.note_trouble(evil)
    text = "\n".join(shown(found, width=200))
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert "[red]" in text  # Five characters, and no colour.


def test_the_terminal_is_given_back_when_something_fails() -> None:
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, height=24, legacy_windows=False)

    def left_at_once() -> None:
        with watch_board(board(member("a")), console) as paint:
            paint()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        left_at_once()
    text = file.getvalue()
    assert text.index("\x1b[?1049h") < text.index("98004-estate") < text.rindex("\x1b[?1049l")
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")  # The cursor is seen again.


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59, "59 s"), (3_600, "1 h 0 min"), (200_000, "2 d 7 h")],
)
def test_how_long_ago_is_told_in_two_units(seconds: int, words: str) -> None:
    assert ago((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == words
    assert ago("yesterday", NOW) == ""
