"""What a ledger entry of an archive says: JSON with sorted keys, so the same facts hash alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

from psp.errors import ArchiveError

from ._cells import Stored
from ._manifest import Table
from ._manifest_file import table_from_dict, table_to_dict

CREATED: Final = "created"
INGESTED: Final = "ingested"
PAIRED: Final = "paired"
UNPAIRED: Final = "unpaired"
DOCUMENT: Final = "document"
RETRACTED: Final = "retracted"
TABLE_ADDED: Final = "table"
REMEMBERS: Final = "remembers"
REVOKED: Final = "revoked"
EPOCH: Final = "epoch"
CLOCK: Final = "clock"
REASSERTED: Final = "reasserted"
ANCHORED: Final = "anchored"
STATE: Final = "state"
AUDITED: Final = "audited"
UNCHANGED: Final = "unchanged"

ASKED: Final = "asked"
"""The field that tells of a call under a grant: who asked, and with which key."""

_ENCODER: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestEntry:
    """A sealed file: all that is needed to read its rows again.

    Attributes:
        asset: SHA-256 of the original.
        table: As it was when the file was read; a later manifest may differ in what it lists.
        null: The text that stood for "no value".
        sheet: The sheet of a workbook that was named; empty if none was.
        asked: The call under a grant that brought it; None if its operator did.
    """

    operator: str
    time: datetime
    asset: bytes
    file: str
    size_bytes: int
    table: Table
    null: str
    rows: int
    refused: int
    sheet: str = ""
    asked: Mapping[str, str] | None = None

    def encode(self) -> bytes:
        return encode_entry(
            INGESTED,
            self.time,
            {
                "operator": self.operator,
                "asset": self.asset.hex(),
                "file": self.file,
                "bytes": self.size_bytes,
                "table": self.table.name,
                "schema": table_to_dict(self.table),
                "null": self.null,
                "rows": self.rows,
                "refused": self.refused,
                **({"sheet": self.sheet} if self.sheet else {}),
                **asked_facts(self.asked),
            },
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentEntry:
    """A file sealed as it is, and what a person said about it.

    Attributes:
        asset: SHA-256 of the original.
        row: Its row in the table of documents, as stored.
        asked: As for `IngestEntry`.
    """

    operator: str
    time: datetime
    asset: bytes
    file: str
    size_bytes: int
    row: tuple[Stored, ...]
    asked: Mapping[str, str] | None = None

    def encode(self) -> bytes:
        facts = {
            "operator": self.operator,
            "asset": self.asset.hex(),
            "file": self.file,
            "bytes": self.size_bytes,
            "row": list(self.row),
            **asked_facts(self.asked),
        }
        return encode_entry(DOCUMENT, self.time, facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetractEntry:
    """Keys whose rows are no longer true. What sealed them stays sealed.

    Attributes:
        key: The key columns' names, as they were.
        keys: Their stored values, one tuple for each row.
    """

    operator: str
    time: datetime
    table: str
    key: tuple[str, ...]
    keys: tuple[tuple[Stored, ...], ...]
    reason: str

    def encode(self) -> bytes:
        facts = {
            "operator": self.operator,
            "table": self.table,
            "key": list(self.key),
            "keys": [list(key) for key in self.keys],
            "reason": self.reason,
        }
        return encode_entry(RETRACTED, self.time, facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableEntry:
    """A table that a person, or a policy, added to the archive.

    Attributes:
        manifest: SHA-256 of the manifest that has it: an audit compares the file with that.
    """

    operator: str
    time: datetime
    table: Table
    manifest: bytes

    def encode(self) -> bytes:
        facts = {
            "operator": self.operator,
            "schema": table_to_dict(self.table),
            "manifest": self.manifest.hex(),
        }
        return encode_entry(TABLE_ADDED, self.time, facts)


Entry: TypeAlias = IngestEntry | DocumentEntry | RetractEntry | TableEntry


def asked_facts(asked: Mapping[str, str] | None) -> dict[str, object]:
    """Give the field that tells of a call under a grant, if there was one."""
    return {} if asked is None else {ASKED: dict(asked)}


def encode_entry(kind: str, time: datetime, facts: Mapping[str, object]) -> bytes:
    """Write one entry."""
    document = {"kind": kind, "time": encode_time(time), **facts}
    return _ENCODER.encode(document).encode()


def encode_time(time: datetime) -> str:
    """Write when something was: in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def decode_change(entry: bytes) -> Entry | None:
    """Read an entry back if it changes what tables hold or which there are; else None.

    Raises:
        ArchiveError: The ledger vouches for it and it still makes no sense: a newer release's.
    """
    try:
        document = json.loads(entry)
        decode = _DECODERS.get(document["kind"])
        return None if decode is None else decode(document)
    except (ValueError, KeyError, TypeError) as exc:
        raise ArchiveError(
            f"a ledger entry cannot be read ({type(exc).__name__}: {exc}). A newer release may have"
            " written it: update psp-protocol."
        ) from exc


def _decode_ingest(document: dict[str, Any]) -> IngestEntry:
    return IngestEntry(
        operator=str(document["operator"]),
        time=datetime.fromisoformat(document["time"]),
        asset=bytes.fromhex(document["asset"]),
        file=str(document["file"]),
        size_bytes=int(document["bytes"]),
        table=table_from_dict(document["schema"]),
        null=str(document["null"]),
        rows=int(document["rows"]),
        refused=int(document["refused"]),
        sheet=str(document.get("sheet", "")),
        asked=document.get(ASKED),
    )


def _decode_document(document: dict[str, Any]) -> DocumentEntry:
    return DocumentEntry(
        operator=str(document["operator"]),
        time=datetime.fromisoformat(document["time"]),
        asset=bytes.fromhex(document["asset"]),
        file=str(document["file"]),
        size_bytes=int(document["bytes"]),
        row=tuple(document["row"]),
        asked=document.get(ASKED),
    )


def _decode_retract(document: dict[str, Any]) -> RetractEntry:
    return RetractEntry(
        operator=str(document["operator"]),
        time=datetime.fromisoformat(document["time"]),
        table=str(document["table"]),
        key=tuple(document["key"]),
        keys=tuple(tuple(key) for key in document["keys"]),
        reason=str(document["reason"]),
    )


def _decode_table(document: dict[str, Any]) -> TableEntry:
    return TableEntry(
        operator=str(document["operator"]),
        time=datetime.fromisoformat(document["time"]),
        table=table_from_dict(document["schema"]),
        manifest=bytes.fromhex(document["manifest"]),
    )


_DECODERS: Final[Mapping[str, Callable[[dict[str, Any]], Entry]]] = {
    INGESTED: _decode_ingest,
    DOCUMENT: _decode_document,
    RETRACTED: _decode_retract,
    TABLE_ADDED: _decode_table,
}
