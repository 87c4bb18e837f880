"""`psp fleet do`: many archives told to do one thing, each once, with an outcome for each."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, Parameter
from rich.table import Table as Grid
from rich.text import Text

from psp.aggregator import (
    Became,
    BlockingFleet,
    CommandOptions,
    CommandOutcome,
    CommandReport,
    FleetCommand,
)
from psp.capability import CommandKey
from psp.console import neutral
from psp.errors import EstateError

from ._asking import Asker
from ._common import agreed, err, out, print_json

fleet = App(name="fleet", help="Tell many archives to do one thing, each once.")
do = App(name="do", help="Tell many archives to do one thing; a key makes it safe to try again.")
fleet.command(do)

_Flag = Annotated[bool, Parameter(negative=())]

_STYLES: Final = {
    Became.FORESEEN: "",
    Became.DONE: "green",
    Became.ALREADY_DONE: "green",
    Became.REFUSED: "bold red",
    Became.UNREACHABLE: "bold red",
    Became.LATE: "bold yellow",
    Became.FAILED: "bold red",
}
_PERHAPS_DONE: Final = frozenset({Became.UNREACHABLE, Became.LATE, Became.FAILED})
_WORDS: Final = {
    "state": "{after}, was {before}",
    "unchanged": "nothing to do",
    "audited": "{worst}: {assets_read} of {assets_sealed} originals, {tree_size} entries",
    "ingested": "{rows} rows into {table}",
    "document": "{bytes} bytes sealed",
}
"""How each kind of entry is told; what is not in it stands as a question mark."""

_WORDS_CHARACTERS_MAX: Final = 300


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Telling(Asker):
    """Whom to tell, and how.

    Parameters
    ----------
    members
        Whom to tell, as in: region=north,kind=books; by default everybody.
    estate
        The estate's directory.
    tenant
        Who tells; by default the estate's first tenant. It needs a pairing and a grant that allow
        the command.
    passphrase_fd
        Read the passphrase of sealed keys from this file descriptor instead of asking.
    key
        The key of an earlier attempt: what that has done is not done again.
    preview
        Say what would be done, by which right, and do nothing.
    yes
        Do not ask first; everybody is then to be named: --members '*'.
    within
        Seconds after which a member counts as late.
    json
        Print one JSON object.
    """

    members: Annotated[str, Parameter(name=["--members", "--label"])] = ""
    key: str = ""
    preview: _Flag = False
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False
    within: float = 60.0
    json: _Flag = False


_ALL: Final = Telling()


@do.command
def audit(*, sample: int | None = None, telling: Telling = _ALL) -> None:
    """Let archives look whether everything is still there, and put the result on record.

    Leaves with 0 if every member has done it, else 1; so do the others.

    Parameters
    ----------
    sample
        Hash only so many originals of each, the next ones of a round.
    """
    _tell(FleetCommand.audit(sample=sample), telling)


@do.command
def suspend(*, telling: Telling = _ALL) -> None:
    """Let archives answer nobody until they are resumed; health and proofs stay."""
    _tell(FleetCommand.suspend(), telling)


@do.command
def resume(*, telling: Telling = _ALL) -> None:
    """Let suspended archives answer again."""
    _tell(FleetCommand.resume(), telling)


@do.command
def append(
    file: Path,
    /,
    *,
    table: str,
    null: str = "",
    kind: str = "",
    date: str = "",
    counterparty: str = "",
    telling: Telling = _ALL,
) -> None:
    """Let archives seal a small file, each whole or not at all.

    Parameters
    ----------
    file
        CSV or JSON Lines for a table of rows; any file for the table documents.
    table
        The table that it goes to.
    null
        The text that stands for "no value" in a CSV.
    kind
        Of a document: what it is, as in invoice.
    date
        Of a document: its own date, as in 2026-05-02.
    counterparty
        Of a document: whom it is from or to.
    """
    said = {"null": null, "kind": kind, "date": date, "counterparty": counterparty}
    _tell(FleetCommand.append(file, table=table, **said), telling)


def _tell(command: FleetCommand, telling: Telling) -> None:
    if telling.yes and not telling.members:
        raise EstateError(
            f"with --yes and no members named, {command.name} would go to all of them unasked. Name"
            " them: --members '*' for all, or region=north; or leave --yes out"
        )
    options: CommandOptions = {"members": telling.members, "deadline_s": telling.within}
    if telling.key:
        options["key"] = CommandKey.from_text_untrusted(telling.key)
    with telling.fleet() as opened:
        seen = opened.foresee(command, **options)
        options["key"] = seen.key  # From here on there is one, also if this process ends now.
        if telling.preview:
            _give(seen, telling)
            return
        done = _do(opened, seen, options, telling)
    if not done.is_done:
        sys.exit(1)


def _do(
    opened: BlockingFleet, seen: CommandReport, options: CommandOptions, telling: Telling
) -> CommandReport:
    if not telling.json:
        _show_preview(seen, err().print)
    if not telling.yes and not agreed(f"{seen.command.name}: {_count(seen)}. Do it?"):
        raise EstateError(f"{seen.command.name} was not approved, so nothing was done. Say y")
    done = opened.do(seen.command, **options)
    if telling.json:
        print_json({"preview": seen.to_dict()["members"], **done.to_dict()})
    else:
        _show_done(done)
    return done


def _give(seen: CommandReport, telling: Telling) -> None:
    if telling.json:
        print_json(seen.to_dict())
    else:
        _show_preview(seen, out().print)


def _show_preview(seen: CommandReport, say: Any) -> None:
    say(f"{seen.command.name} · {_members(len(seen.outcomes))} · key {seen.key}", soft_wrap=True)
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for heading in ("member", "would", "by the right to"):
        grid.add_column(heading, overflow="fold")
    for one in seen.outcomes:
        would = one.foreseen.would if one.foreseen else f"{one.became.value}: {one.cause}"
        grid.add_row(
            neutral(one.member),
            Text(neutral(would, _WORDS_CHARACTERS_MAX), style=_STYLES[one.became]),
            neutral(one.foreseen.right, _WORDS_CHARACTERS_MAX) if one.foreseen else "",
        )
    say(grid)


def _show_done(report: CommandReport) -> None:
    grid = Grid(box=None, pad_edge=False, header_style="dim")
    for heading in ("member", "became", ""):
        grid.add_column(heading, overflow="fold")
    for one in report.outcomes:
        words = _what(one) if one.done else one.cause
        became = Text(one.became.value, style=_STYLES[one.became])
        grid.add_row(neutral(one.member), became, neutral(words, _WORDS_CHARACTERS_MAX))
    out().print(grid)
    well = sum(one.is_done for one in report.outcomes)
    out().print(Text(f"{well} of {len(report.outcomes)} done", style="bold"))
    if any(one.became in _PERHAPS_DONE for one in report.outcomes):
        out().print(
            f"Try again within a day, with the same words and --key {report.key}: nothing is done"
            " twice",
            soft_wrap=True,
        )


def _what(one: CommandOutcome) -> str:
    assert one.done is not None
    facts = defaultdict(lambda: "?", one.done.facts)
    words = _WORDS.get(one.done.kind, "done").format_map(facts)
    parts = facts["findings_by_part"]
    found = parts.items() if isinstance(parts, dict) else ()
    return "; ".join(
        [f"{words}, entry {one.done.entry}", *(f"{part}: {grave}" for part, grave in found)]
    )


def _count(seen: CommandReport) -> str:
    ready = sum(one.foreseen is not None for one in seen.outcomes)
    return f"{ready} of {_members(len(seen.outcomes))} would do it"


def _members(count: int) -> str:
    return "1 member" if count == 1 else f"{count} members"
