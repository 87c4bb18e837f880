"""What `psp fleet do` prints of members that say anything."""

from __future__ import annotations

import pytest

from psp.aggregator import Became, CommandOutcome, CommandReport, Done, FleetCommand, Foreseen
from psp.capability import CommandKey
from psp.cli._common import out
from psp.cli._fleet import _show_done, _show_preview

EVIL = "\x1b[2J\u202e[red]evil{0}"


def report(*outcomes: CommandOutcome) -> CommandReport:
    return CommandReport(
        command=FleetCommand.suspend(), key=CommandKey(1, bytes(16)), outcomes=outcomes
    )


def done(kind: str, facts: dict[str, object]) -> CommandOutcome:
    said = Done(entry=7, time=EVIL, kind=kind, is_repeated=False, facts=facts)  # type: ignore[arg-type]
    return CommandOutcome(member="north", became=Became.DONE, done=said)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def test_text_of_members_is_neutralised_in_both_tables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen = Foreseen(would=EVIL, right=EVIL, state="active", transitions=0, done=None)
    _show_preview(
        report(CommandOutcome(member=EVIL, became=Became.FORESEEN, foreseen=seen)), out().print
    )
    refused = CommandOutcome(member=EVIL, became=Became.REFUSED, cause=EVIL)
    _show_done(report(refused, done("state", {"before": EVIL, "after": EVIL}), done(EVIL, {})))

    printed = capsys.readouterr().out
    assert all(character.isprintable() or character == "\n" for character in printed)
    assert printed.count("[red]evil{0}") == 7


@pytest.mark.parametrize(
    ("kind", "facts", "words"),
    [
        ("state", {"before": "active", "after": "suspended"}, "suspended, was active, entry 7"),
        ("state", {}, "?, was ?, entry 7"),
        ("unchanged", {"state": "active"}, "nothing to do, entry 7"),
        (
            "audited",
            {
                "worst": "damage",
                "assets_read": 1,
                "assets_sealed": 2,
                "tree_size": 5,
                "findings_by_part": {"assets": "damage", "pins": "warning"},
            },
            "damage: 1 of 2 originals, 5 entries, entry 7; assets: damage; pins: warning",
        ),
        ("ingested", {"table": "rents", "rows": 3}, "3 rows into rents, entry 7"),
        ("document", {"bytes": 9}, "9 bytes sealed, entry 7"),
    ],
)
def test_each_kind_of_entry_is_told_in_few_words(
    capsys: pytest.CaptureFixture[str], kind: str, facts: dict[str, object], words: str
) -> None:
    _show_done(report(done(kind, facts)))
    assert words in capsys.readouterr().out


def test_a_key_to_try_again_with_is_shown_where_somebody_did_not_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    away, ill, no = (
        CommandOutcome(member="a", became=became, cause="gone")
        for became in (Became.UNREACHABLE, Became.FAILED, Became.REFUSED)
    )
    _show_done(report(no))
    assert "--key" not in capsys.readouterr().out
    for perhaps_done in (away, ill):
        _show_done(report(perhaps_done, no))
        assert f"--key {CommandKey(1, bytes(16))}" in capsys.readouterr().out
