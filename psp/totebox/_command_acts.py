"""What each command under a grant does to an archive, and what it would do.

Each act leaves exactly one entry, which holds the command's key, and returns its place. What turns
out to change nothing leaves one too: else its key could do something later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final, TypeAlias

import apsw

from psp.errors import ArchiveError, IntakeRefused, Invalid
from psp.values import Value

from ._asked import APPEND, Asked, outcome_of, request_in
from ._assets import INPUT_DIRECTORY, STAGED_PREFIX
from ._command_memory import CommandMemory
from ._documents import DOCUMENTS, seal_document
from ._entries import AUDITED, UNCHANGED, asked_facts, encode_entry
from ._ingest import disk_errors
from ._integrity import audit_open
from ._lifecycle import TRANSITIONS, change_state_untrusted
from ._limits import FINDING_CHARACTERS_MAX, FINDINGS_RECORDED_MAX
from ._manifest import State
from ._report import Report

if TYPE_CHECKING:
    from ._archive import Archive

_UNBOUNDED: Final = (b"PK\x03\x04", b"PAR1")
"""How files begin that a stranger can make small and that are large when they are read."""

_AFTER: Final = {"suspend": State.SUSPENDED, "resume": State.ACTIVE}

_Act: TypeAlias = "Callable[[Archive, Asked, bytes, datetime, int | None], int]"


def recall(archive: Archive, asked: Asked, now_s: int) -> dict[str, Value] | None:
    """Give what was done under a command's key; None if nothing was, and it may be done.

    Raises:
        Invalid: Something else was done under it, or it is too old.
        Overloaded: It could not be remembered.
        ArchiveError: The disk refused.
    """
    memory = CommandMemory(archive.memory.state(), archive.ledger)
    memory.catch_up(now_s)
    place = _find(archive, memory, asked, now_s)
    if place is None:
        return None
    (entry,) = archive.ledger.entries(place, place + 1)
    return outcome_of(entry, place, is_repeated=True)


def _find(archive: Archive, memory: CommandMemory, asked: Asked, now_s: int) -> int | None:
    place = memory.find(asked.principal, asked.key)
    if place is None:
        memory.check_fresh(asked.principal, asked.key, now_s)
        return None
    (entry,) = archive.ledger.entries(place, place + 1)
    if request_in(entry) != asked.request:
        raise Invalid(
            f"this key has done something else here, as entry {place}: it stands for one command"
            " with one set of arguments. Give a fresh key for another"
        )
    return place


def act(
    archive: Archive, asked: Asked, statement: bytes, now: datetime, rows_max: int | None
) -> dict[str, Value]:
    """Do a command that was not done yet, and give what its entry tells.

    Args:
        statement: The transition that the holder has signed, where there is one.
        rows_max: The most rows that the grant lets be appended in one call.

    Raises:
        PSPError: It was not done: the archive is as before.
    """
    with disk_errors(f"{asked.command} was not done", ArchiveError):
        place = _ACTS[asked.command](archive, asked, statement, now, rows_max)
    (entry,) = archive.ledger.entries(place, place + 1)
    return outcome_of(entry, place, is_repeated=False)


def foresee(archive: Archive, asked: Asked, right: str, now_s: int) -> dict[str, Value]:
    """Say what a command would do, and change nothing.

    Raises:
        Invalid, Overloaded: It would be refused.
        ArchiveError: The disk refused.
    """
    memory = CommandMemory(archive.memory.state(), archive.ledger)
    if memory.is_far_behind:  # 13 µs for each entry; and previews are not counted.
        memory.catch_up(now_s)
    place = _find(archive, memory, asked, now_s)
    would = _FORESEEN[asked.command](archive, asked) if place is None else ""
    return {
        "would": would or f"nothing: this key has done it, as entry {place}",
        "right": right,
        "state": archive.manifest.state.value,
        "transitions": archive.manifest.transitions,
        "done": place,
    }


def _audit(
    archive: Archive, asked: Asked, _statement: bytes, now: datetime, _rows_max: int | None
) -> int:
    report = audit_open(archive, sample=asked.arguments.get("sample"))
    return _record(archive, AUDITED, asked, now, _report_facts(report))


def _report_facts(report: Report) -> dict[str, object]:
    found = sorted(report.findings, key=lambda one: -one.severity)
    by_part: dict[str, str] = {}
    for one in found:
        by_part.setdefault(one.part, one.severity.name.lower())
    shown = [
        [one.part, one.severity.name.lower(), one.what[:FINDING_CHARACTERS_MAX]]
        for one in found[:FINDINGS_RECORDED_MAX]
    ]
    now = report.checkpoint
    return {
        "worst": report.worst.name.lower() if found else "well",
        "tree_size": now.tree_size if now else None,
        "root": now.root_hash.hex() if now else None,
        "reads_recorded": report.reads_recorded,
        "assets_sealed": report.assets_sealed,
        "assets_read": report.assets_read,
        "findings": shown,
        "findings_left_out": len(found) - len(shown),
        "findings_by_part": by_part,
    }


def _change_state(
    archive: Archive, asked: Asked, statement: bytes, now: datetime, _rows_max: int | None
) -> int:
    after = _AFTER[asked.command]
    _check_way(archive, after)
    if archive.manifest.state is after:
        return _record(archive, UNCHANGED, asked, now, {"state": after.value})
    if not statement:
        raise Invalid(
            f"{asked.command} came without the transition that its holder signs. Ask for a preview,"
            " which tells the state and the number that it leads on from"
        )
    return change_state_untrusted(
        archive,
        statement,
        operator=asked.operator,
        now=now,
        # The actor is whoever holds the grant; that it may is what the grant says.
        allowed=frozenset({asked.holder}),
        # Nor may it be another change than the grant allows: `archived` is for ever.
        after=after,
        asked=asked.facts(),
    )


def _check_way(archive: Archive, after: State) -> None:
    state = archive.manifest.state
    if state is not after and after not in TRANSITIONS[state]:
        raise Invalid(f"this archive is {state.value} for ever, and cannot become {after.value}")


def _append(
    archive: Archive, asked: Asked, _statement: bytes, now: datetime, rows_max: int | None
) -> int:
    given = asked.arguments
    is_document = given["table"] == DOCUMENTS.name and DOCUMENTS in archive.manifest.tables
    if not is_document and given["content"].startswith(_UNBOUNDED):
        raise Invalid(
            f"{given['file']} is XLSX or Parquet, which may grow beyond any bound when it is read;"
            " rows come by a call as CSV or JSON Lines. Convert it, or seal it where the archive is"
        )
    with _staged(archive.directory, given["file"], given["content"]) as file:
        try:
            if is_document:
                words = {name: given.get(name, "") for name in ("kind", "date", "counterparty")}
                document = seal_document(
                    archive, file, operator=asked.operator, now=now, asked=asked.facts(), **words
                )
                place, is_new = document.entry_index, document.earlier is None
            else:
                ingested = archive.ingest(
                    file,
                    given["table"],
                    operator=asked.operator,
                    now=now,
                    null=given.get("null", ""),
                    asked=asked.facts(),
                    rows_max=rows_max,
                )
                place, is_new = ingested.entry_index, ingested.earlier is None
        except IntakeRefused as exc:
            if isinstance(exc.__cause__, OSError | apsw.Error):  # Of the disk, not of the file.
                raise
            # Where the list of refused rows would be is of no use to whoever sent them.
            words_only = str(exc).replace(f"{file.parent}/", "")
            raise Invalid(words_only) from None
    return place if is_new else _record(archive, UNCHANGED, asked, now, {"sealed_by": place})


@contextmanager
def _staged(directory: Path, name: str, content: bytes) -> Iterator[Path]:
    """Put bytes that came with a call where intake can read them."""
    parent = directory / INPUT_DIRECTORY
    parent.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix=STAGED_PREFIX, dir=parent) as place:
        file = Path(place) / name
        file.write_bytes(content)
        yield file


def _record(
    archive: Archive, kind: str, asked: Asked, now: datetime, facts: Mapping[str, object]
) -> int:
    told = {"operator": asked.operator, **facts, **asked_facts(asked.facts())}
    return archive.record(encode_entry(kind, now, told))


def _foresee_audit(archive: Archive, asked: Asked) -> str:
    sample = asked.arguments.get("sample")
    how = "every original" if sample is None else f"{sample} originals"
    return f"audit: hash {how}, check the ledger of {archive.ledger.checkpoint.tree_size} entries"


def _foresee_state(archive: Archive, asked: Asked) -> str:
    state, after = archive.manifest.state, _AFTER[asked.command]
    _check_way(archive, after)
    if state is after:
        return f"nothing: it is {state.value} already; an entry says so"
    return f"become {after.value}; it is {state.value}"


def _foresee_append(archive: Archive, asked: Asked) -> str:
    given = asked.arguments
    if archive.manifest.state is not State.ACTIVE:
        raise Invalid(f"this archive is {archive.manifest.state.value}; it takes no files")
    return f"seal {given['file']} ({len(given['content']):,} bytes) into {given['table']}"


_ACTS: Final[Mapping[str, _Act]] = {
    "audit": _audit,
    "suspend": _change_state,
    "resume": _change_state,
    APPEND: _append,
}

_FORESEEN: Final[Mapping[str, Callable[[Archive, Asked], str]]] = {
    "audit": _foresee_audit,
    "suspend": _foresee_state,
    "resume": _foresee_state,
    APPEND: _foresee_append,
}
