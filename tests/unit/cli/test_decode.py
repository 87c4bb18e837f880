from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.cli._app import app
from psp.cli._capture import read_capture_untrusted
from psp.cli._decode import line_of
from psp.cli._trace import lines, traced
from psp.errors import EstateError

from .captures import FROM_CONTROLLER, SECRET, record


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    app(["decode", *arguments], result_action="return_value")
    return capsys.readouterr().out


def test_a_capture_is_one_aligned_line_for_each_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = run(capsys, str(record(tmp_path / "capture")))
    assert text.splitlines() == [
        "    0.000000  → HELLO            6 B  versions [1]  limits 0  features 0",
        "    0.000000  → CALL            31 B  question 1  target 0  method table"
        "  arguments [text of 11]  remaining_ms 30000  accept_bytes 1024  flags 1",
        "    0.000000  → CALL            30 B  question 2  target 1 + 1 steps  method rows"
        "  arguments []  remaining_ms 30000  accept_bytes 4  flags 0",
        "    0.000000  → CALL            18 B  question 3  target 0  method wait"
        "  arguments []  remaining_ms 30000  accept_bytes 1024  flags 2",
        "    0.040000  ← RETURN           5 B  question 1  status 0  payload null",
        "    0.040000  ← RETURN          22 B  question 2  status 3  payload map of 1",
        "    0.060000  ← CHUNK           13 B  question 2  data 4",
        "    0.080000  ← END             22 B  question 2  error failed  processed 1"
        "  correlation c-9  text 11",
    ]


@pytest.mark.parametrize("is_hex", [False, True])
def test_raw_bytes_of_one_direction_are_shown_without_their_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_hex: bool
) -> None:
    file = tmp_path / "raw"
    file.write_bytes(FROM_CONTROLLER.hex().encode() if is_hex else FROM_CONTROLLER)
    text = run(capsys, str(file), "--from", "controller", *(["--hex"] if is_hex else []))
    assert len(text.splitlines()) == 4
    assert SECRET not in text


def test_reveal_shows_what_whoever_has_the_bytes_has_already(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "raw"
    file.write_bytes(FROM_CONTROLLER + b"\x00\x00\x00\x09half")
    text = run(capsys, str(file), "--from", "controller", "--reveal")
    assert f'says [1, 0, "table", ["{SECRET}"], 30000, 1024, 1, null]' in text
    assert "→ incomplete" in text.splitlines()[-1]


def test_a_capture_has_no_values_to_reveal(tmp_path: Path) -> None:
    with pytest.raises(EstateError, match="--from controller"):
        app(["decode", str(record(tmp_path / "c")), "--reveal"], result_action="return_value")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "[]",
        "{}",
        '{"s":0,"from":"me","frame":"CALL"}',
        "x" * 300_000,
        "[" * 100_000,
        '{"s":NaN,"from":"subject","frame":"CALL"}',
    ],
)
def test_a_line_that_is_none_is_named_with_its_number(tmp_path: Path, line: str) -> None:
    file = record(tmp_path / "capture")
    with file.open("a") as target:
        target.write(line + "\n")
    with pytest.raises(EstateError, match=r"line 9 of .* is no line of a capture"):
        list(read_capture_untrusted(file))


def test_a_file_that_is_not_there_or_not_text_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(EstateError, match="cannot be read"):
        list(read_capture_untrusted(tmp_path / "nothing"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(EstateError, match="no line of a capture"):
        list(read_capture_untrusted(tmp_path / "binary"))
    with pytest.raises(EstateError, match="not hex digits"):
        app(
            ["decode", str(tmp_path / "binary"), "--from", "subject", "--hex"],
            result_action="return_value",
        )


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
KEYS = (
    st.sampled_from(["question", "status", "error", "target", "method", "bytes", "questions"])
    | st.text()
)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["controller", "subject"]),
            st.sampled_from(["CALL", "PRESENT", "RETURN", "END", "CHUNK"]) | st.text(),
            st.floats(0, 1e9) | st.integers(0, 10),
            st.dictionaries(KEYS, ANYTHING | st.integers(0, 3)),
        )
    )
)
def test_a_forged_capture_is_shown_and_drives_no_terminal(
    tmp_path_factory: pytest.TempPathFactory,
    forged: list[tuple[str, str, float, dict[str, object]]],
) -> None:
    file = tmp_path_factory.mktemp("forged") / "capture"
    file.write_text(
        "".join(
            json.dumps({**rest, "s": s, "from": sender, "frame": frame}) + "\n"
            for sender, frame, s, rest in forged
        )
    )
    entries = list(read_capture_untrusted(file))
    for line in [*map(line_of, entries), *lines(traced(entries))]:
        assert line.isprintable(), line
