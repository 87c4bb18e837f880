"""Is what an archive remembers about grants whole? Held against the ledger, on a copy.

A copy, because looking at a SQLite database that was killed finishes its log: an audit changes
nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import apsw

from psp.capability import Anchor, Revokes
from psp.ledger import Ledger

from ._limits import REVOCATIONS_MAX
from ._memory import known_in, owed_in, revoked_in
from ._open_memory import has_memory, unknown_word
from ._report import Severity
from ._said import Said, contradiction, said_in
from ._state_file import STATE_FILE, StateFile, Stored


class Harm(NamedTuple):
    """One thing that is wrong.

    Attributes:
        next_: What to type; `DIR` stands for the archive.
    """

    severity: Severity
    what: str
    next_: str


_BUMP = "psp epoch bump DIR"
_LOOK = "psp ledger show DIR/ledger"


def memory_harms(directory: Path, archive_id: bytes, anchor: Anchor, ledger: Ledger) -> list[Harm]:
    """Say what is wrong with the memory of a stopped archive."""
    path = directory / STATE_FILE
    if not path.exists():
        if not has_memory(ledger):
            return []
        what = f"{STATE_FILE} is gone; no grant is accepted until a new epoch begins"
        return [Harm(Severity.DAMAGE, what, _BUMP)]
    with TemporaryDirectory(prefix="psp-audit-") as looking:
        try:
            file = StateFile(_copy(path, Path(looking)), archive_id)
        except (apsw.Error, OSError, ValueError) as exc:
            what = f"{STATE_FILE} cannot be read ({exc}); no grant is accepted"
            return [Harm(Severity.DAMAGE, what, _BUMP)]
        try:
            return list(_harms(file, anchor, ledger))
        except (apsw.Error, ValueError) as exc:
            what = f"{STATE_FILE} holds what no archive writes ({exc}); no grant is accepted"
            return [Harm(Severity.DAMAGE, what, _BUMP)]
        finally:
            file.close()


def open_memory_harms(file: StateFile, anchor: Anchor, ledger: Ledger) -> list[Harm]:
    """Say what is wrong with the memory of an archive that is served, which has it open."""
    try:
        if (found := file.execute("PRAGMA integrity_check")) != [("ok",)]:
            what = f"{STATE_FILE} is damaged: {found[0][0]!r}"
            return [Harm(Severity.DAMAGE, what, _BUMP)]
        return list(_harms(file, anchor, ledger))
    except (apsw.Error, ValueError) as exc:
        what = f"{STATE_FILE} holds what no archive writes ({exc}); no grant is accepted"
        return [Harm(Severity.DAMAGE, what, _BUMP)]


def _copy(path: Path, to: Path) -> Path:
    for suffix in ("", "-wal"):
        if (part := path.with_name(path.name + suffix)).exists():
            shutil.copyfile(part, to / part.name)
    return to / path.name


def _harms(file: StateFile, anchor: Anchor, ledger: Ledger) -> Iterator[Harm]:
    facts = file.facts()
    if (fault := contradiction(ledger, known_in(facts))) is not None:
        what = (
            f"{STATE_FILE} {fault}: one of the two was rewritten, or put back from a copy; no grant"
            " is accepted until the owner has looked"
        )
        yield Harm(Severity.DAMAGE, what, _LOOK)
    if (place := unknown_word(ledger, file)) is not None:
        what = (
            f"{STATE_FILE} is an old copy: entry {place} of the ledger is not in it; no grant is"
            " accepted until a new epoch begins"
        )
        yield Harm(Severity.DAMAGE, what, _BUMP)
        return  # What else it lacks follows from that.
    said = said_in(ledger)
    for place, entry in enumerate(owed_in(facts), ledger.checkpoint.tree_size):
        said.hear(place, json.loads(entry))
        what = "the owner has said something that is not in the ledger yet; opening records it"
        yield Harm(Severity.NOTE, what, _LOOK)
    yield from _numbers(facts, said, anchor)
    yield from _revocations(file, said, int(facts.get("forgotten_s", 0)))
    if alarm := facts.get("alarm"):
        yield Harm(Severity.WARNING, f"no grant is accepted, because {alarm!s}", _LOOK)


def _numbers(facts: dict[str, Stored], said: Said, anchor: Anchor) -> Iterator[Harm]:
    for name, expected in {
        "epoch": max(anchor.epoch, said.epoch),
        "clock_number": said.clock_number,
        "reassertion_number": said.reassertion_number,
    }.items():
        found = max(int(facts.get(name, 0)), anchor.epoch if name == "epoch" else 0)
        if found != expected:
            what = f"{STATE_FILE} says {name} {found}, and the ledger tells of {expected}"
            yield Harm(Severity.DAMAGE, f"{what}: it was edited", _BUMP)


def _revocations(file: StateFile, said: Said, forgotten_s: int) -> Iterator[Harm]:
    found = revoked_in(file)
    if sum(map(len, found.values())) >= REVOCATIONS_MAX:
        return  # Made anew from a ledger that tells of more.
    for kind in Revokes:
        for name, until_s in said.revoked[kind].items():
            if until_s > forgotten_s and found[kind].get(name, 0) < until_s:
                what = f"the {kind.name.lower()} {name.hex()} is revoked by the ledger, and not in"
                yield Harm(Severity.DAMAGE, f"{what} {STATE_FILE}: it was edited", _BUMP)
        for name in found[kind].keys() - said.revoked[kind].keys():
            what = f"the {kind.name.lower()} {name.hex()} is revoked by {STATE_FILE}, and by no"
            yield Harm(Severity.DAMAGE, f"{what} entry of the ledger: it was edited", _BUMP)
