"""What a ledger entry of an archive says: JSON with sorted keys, so the same facts hash alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from psp.errors import ArchiveError

from ._manifest import Table
from ._manifest_file import table_from_dict, table_to_dict

CREATED: Final = "created"
INGESTED: Final = "ingested"
PAIRED: Final = "paired"


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestEntry:
    """A sealed file: all that is needed to read its rows again.

    Attributes:
        asset: SHA-256 of the original.
        table: As it was when the file was read; a later manifest may differ in what it lists.
        null: The text that stood for "no value".
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
            },
        )


def encode_entry(kind: str, time: datetime, facts: Mapping[str, object]) -> bytes:
    """Write one entry."""
    when = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {"kind": kind, "time": when, **facts}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


def decode_ingest(entry: bytes) -> IngestEntry | None:
    """Read an entry back if it seals a file; None if it is of another kind.

    Raises:
        ArchiveError: The ledger vouches for it and it still makes no sense: a newer release's.
    """
    try:
        document = json.loads(entry)
        if document["kind"] != INGESTED:
            return None
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
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise ArchiveError(
            f"a ledger entry cannot be read ({type(exc).__name__}: {exc}). A newer release may have"
            " written it: update psp-protocol."
        ) from exc
