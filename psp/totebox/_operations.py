"""What an operator does to an archive, by whichever door: it is stopped, or it is being served.

One method for each command. A new one needs nothing else: `administer` finds it by its name, and so
does the control socket. It works on the archive that it is given and says what has become of it in
plain values. In a served archive it runs in a worker thread, one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psp.endpoint import Exposed, method
from psp.values import Value

from ._add_table import add_table
from ._archive import Archive
from ._corrections import retract
from ._documents import seal_document
from ._ingest import Progress
from ._lifecycle import change_state_untrusted
from ._manifest_file import table_from_dict
from ._owner import heed_untrusted, is_owed, record_owed
from ._pairing import check_pairing, check_unambiguous
from ._unpair import shut_out, unpair


class Operations(Exposed):
    """The operations on one open archive. Their arguments and results travel."""

    def __init__(self, archive: Archive, progress: Progress | None = None) -> None:
        self._archive = archive
        self._progress = progress

    @method(inline=False)
    def add_table(self, table: dict[str, Value], operator: str) -> None:
        """Add an empty table, as `table_to_dict` writes it."""
        add_table(self._archive, table_from_dict(table), operator=operator, now=_now())

    @method(inline=False)
    def ingest(
        self, file: str, table: str, operator: str, accept_partial: bool, null: str, sheet: str
    ) -> dict[str, Value]:
        """Seal a file, named by its absolute path, and put its rows into a table."""
        done = self._archive.ingest(
            Path(file),
            table,
            operator=operator,
            now=_now(),
            accept_partial=accept_partial,
            null=null,
            sheet=sheet,
            progress=self._progress,
        )
        earlier = done.earlier
        return {
            "rows": done.rows,
            "refused": done.refused,
            "entry": done.entry_index,
            "refused_rows": None if done.quarantine is None else str(done.quarantine),
            "sealed_as": None if earlier is None else earlier.file,
            "sealed_before": None if earlier is None else earlier.time.isoformat(),
        }

    @method(inline=False)
    def seal(
        self, file: str, operator: str, kind: str, date: str, counterparty: str
    ) -> dict[str, Value]:
        """Seal a file as it is, named by its absolute path."""
        done = seal_document(
            self._archive,
            Path(file),
            operator=operator,
            now=_now(),
            kind=kind,
            date=date,
            counterparty=counterparty,
        )
        earlier = done.earlier
        return {
            "hash": done.sha256.hex(),
            "bytes": done.size_bytes,
            "entry": done.entry_index,
            "sealed_as": None if earlier is None else earlier.file,
            "sealed_before": None if earlier is None else earlier.time.isoformat(),
        }

    @method(inline=False)
    def retract(
        self, table: str, keys: list[list[str]], operator: str, reason: str
    ) -> dict[str, Value]:
        """Take rows out of a table by their keys: all of them, or none."""
        done = retract(self._archive, table, keys, operator=operator, now=_now(), reason=reason)
        return {"retracted": len(keys), "entry": done.first_index}

    @method(inline=False)
    def pair(self, name: str, certificate: str, ceiling: str, operator: str) -> dict[str, Value]:
        """Let a machine connect. A served archive lets it in from now on."""
        check_unambiguous(check_pairing(name, certificate, ceiling), self._archive.pairings())
        done = self._archive.pair(name, certificate, ceiling, operator=operator)
        return {"peer": name, "spki": done.pin.certificate.spki_hash.hex(), "ceiling": done.ceiling}

    @method(inline=False)
    def unpair(self, name: str, operator: str) -> dict[str, Value]:
        """End a pairing. In a served archive the machine's connections are closed by now."""
        done = unpair(self._archive, name, operator=operator)
        return {"peer": name, "entry": done.first_index}

    @method(inline=False)
    def hear(self, kind: str, statement: bytes) -> dict[str, Value]:
        """Do what the owner has signed: `revoked`, `epoch`, `clock`, `reasserted`, `anchored`."""
        memory = self._archive.memory
        if not is_owed(memory, statement):  # In a served archive it was done at once.
            heed_untrusted(self._archive, kind, statement, now=_now())
        return {"entry": record_owed(self._archive, memory, statement)}

    @method(inline=False)
    def change_state(self, statement: bytes, operator: str) -> dict[str, Value]:
        """Suspend, resume or close the archive, as an administrator has signed it."""
        place = change_state_untrusted(self._archive, statement, operator=operator, now=_now())
        return {"state": self._archive.manifest.state.value, "entry": place}


TAKE_A_FILE = frozenset({"ingest", "seal"})
"""Operations whose first argument is a file, which the process that does them has to be able to
read."""


AT_ONCE: dict[str, Callable[[Archive, list[Any]], None]] = {
    "unpair": lambda archive, arguments: shut_out(archive.directory, arguments[0]),
    "hear": lambda archive, arguments: heed_untrusted(archive, *arguments, now=_now()),
}
"""What takes effect in a served archive before its turn comes: a machine that is to be out must not
stay in until a large file is sealed, nor a grant last that was taken back."""


def _now() -> datetime:
    return datetime.now(UTC)
