"""A table compared with another archive's, without its rows leaving.

Archives whose owner wants them compared hold one secret, `keys/reconcile.key`, which nobody who
asks ever has. A row's tag is an HMAC over its key and amounts under that secret and the asker's
number; the tags go into a table that cancels against the other side's (`psp.plan.CancellingTable`).
So the asker learns the tags of what differs, which are pseudonyms, and how many rows there are; and
only for those tags it may ask for the rows, where its grant reads rows.

The floor does not hold here: `sketch` is a right of its own, which only ADMIN pairings can carry.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import trio

from psp.capability import Command, Operation, TableRule
from psp.endpoint import method
from psp.errors import ArchiveError, Denied, Invalid, LimitExceeded
from psp.ledger import Checkpoint
from psp.plan import CancellingTable, tag_of
from psp.values import EXACT, Value

from ._answer_size import check_size
from ._answers import Answers
from ._budgets import Spend
from ._engine import Engine
from ._engine_thread import run_in_thread
from ._figurings import Row
from ._granted import Granted
from ._limits import TAGS_MAX
from ._manifest import Column, ColumnType, Table
from ._reader import Reader
from ._storage import SQLValue, from_storage

SECRET_FILE: Final = Path("keys") / "reconcile.key"
SECRET_BYTES: Final = 32
NONCE_BYTES: Final = 16
_LABEL: Final = b"PSP1.reconcile\0"

_Work: TypeAlias = Callable[[Engine], dict[str, Value]]


class Reconciled(Granted):
    """What a table offers to be compared; `TableObject` has the rest."""

    _reader: Reader
    _table: Table
    _rule: TableRule
    _spend: Spend | None
    _answers: Answers
    _scanning: trio.Lock

    @method
    async def sketch(self, nonce: bytes, columns: list[Value], cells: int) -> Mapping[str, Value]:
        """Give a cancelling table over some columns of every row."""
        chosen, secret = self._admit(nonce, columns, Operation.SKETCH)
        CancellingTable(cells)  # Before anything is read: its size may be refused.

        def work(engine: Engine) -> dict[str, Value]:
            made = CancellingTable(cells)
            for digest, _ in digests(engine, chosen, secret):
                made.add(digest)
            return {"cells": made.to_bytes(), "rows": made.tags}

        command: Command = ("sketch", [nonce, columns, cells])
        return await self._answer(work, command)

    @method
    async def behind(
        self, nonce: bytes, columns: list[Value], tags: list[Value]
    ) -> Mapping[str, Value]:
        """Give the rows behind some tags: these columns and no others."""
        chosen, secret = self._admit(nonce, columns, Operation.SKETCH)
        if Operation.READ not in self._rule.allowed_operations:
            raise Denied("this grant does not read rows; what differs can be counted, and no more.")
        allowed = min(TAGS_MAX, self._rule.rows_max)
        if len(tags) > allowed:
            raise LimitExceeded(f"{len(tags)} tags; this grant allows {allowed} rows.")
        wanted = {tag for tag in tags if isinstance(tag, bytes)}

        def work(engine: Engine) -> dict[str, Value]:
            found: list[Value] = []
            for digest, row in digests(engine, chosen, secret):
                if (tag := tag_of(digest)) in wanted:
                    if len(found) == allowed:
                        raise LimitExceeded(
                            f"more than {allowed} rows stand behind these tags, which is what this"
                            " grant allows. Ask for fewer, and name the columns of the key."
                        )
                    found.append([tag, [*map(from_storage, chosen, row)]])
            return {"rows": found}

        command: Command = ("behind", [nonce, columns, tags])
        return await self._answer(work, command)

    def _admit(
        self, nonce: bytes, columns: Sequence[Value], operation: Operation
    ) -> tuple[list[Column], bytes]:
        self._reader.admit()
        if operation not in self._rule.allowed_operations:
            raise Denied(f"this grant does not allow {operation.value}.")
        if self._rule.rounding > 1:
            # Amounts go into the tags as they are, and whoever guesses one knows it to the cent.
            raise Denied("this grant rounds numbers, and rounded ones cannot be compared.")
        if type(nonce) is not bytes or len(nonce) != NONCE_BYTES:
            raise Invalid(f"the number of a comparison has {NONCE_BYTES} bytes; make a random one.")
        names = [name for name in columns if isinstance(name, str)]
        shown = self._rule.output.intersection(self._table.column_names)
        if not names or len(names) != len(columns) or not shown.issuperset(names):
            raise Invalid(
                f"a comparison names columns that are shown: {', '.join(sorted(shown)) or 'none'}."
            )
        secret = view_secret(self._desk.archive.directory, nonce)
        return [self._table.column(name) for name in names], secret

    async def _answer(self, work: _Work, command: Command) -> Mapping[str, Value]:
        if self._spend is not None:
            await self._spend(uses=1)
        async with self._scanning:
            # Again: a call may wait behind others, and then scan, until its grant is over.
            self.check_open()
            data = self._desk.data
            found = await self._at(data, work)
            self.check_open()
        listed = found.get("rows")
        rows = len(listed) if isinstance(listed, list) else 0
        if self._spend is not None and rows:
            await self._spend(rows=rows)
        answer = {**found, "as_of": data.tree_size, "root": data.root_hash}
        check_size(answer, self._rule)
        commands: list[Command] = [("table", [self._table.name]), command]
        index, size = await self._reader.record(
            commands, answer, data, rows=rows, spend=self._spend
        )
        self._desk.counters.record_bytes += size if rows else 0
        self._desk.counters.result_bytes += 0 if rows else size
        return {**answer, "read": index}

    async def _at(self, data: Checkpoint, work: _Work) -> dict[str, Value]:
        """Do it on the newest state, or, if that moved meanwhile, on the one that it began with."""
        if self._desk.settled is None:
            engine = self._answers.engine
            found = await run_in_thread(engine, partial(work, engine)) or {}
            if data == self._desk.archive.ledger.checkpoint:
                return found
        with closing(self._answers.open_engine(data.tree_size)) as engine:
            return await run_in_thread(engine, partial(work, engine)) or {}


def digests(
    engine: Engine, columns: Sequence[Column], secret: bytes
) -> Iterator[tuple[bytes, Row]]:
    """Give each row's digest, and the row as it is stored."""
    writers = [*map(_writer_of, columns)]
    for row in engine.scan([column.name for column in columns]):
        data = b"".join([write(stored) for write, stored in zip(writers, row, strict=True)])
        yield hmac.digest(secret, data, "sha256"), row


def _writer_of(column: Column) -> Callable[[SQLValue], bytes]:
    """How a column's stored values become canonical; a million of them a second matter here."""
    match column.type:
        case ColumnType.DECIMAL:
            return partial(_decimal, column.scale)
        case ColumnType.TEXT:
            return _text
    return lambda stored: canonical(from_storage(column, stored))


def _text(stored: SQLValue) -> bytes:
    if stored is None:
        return canonical(None)
    data = str(stored).encode()
    return b"t%d:%b" % (len(data), data)


def _decimal(scale: int, stored: SQLValue) -> bytes:
    if stored is None:
        return canonical(None)
    assert isinstance(stored, int)
    digits = f"{abs(stored):0{scale + 1}d}"
    if scale:
        digits = f"{digits[:-scale]}.{digits[-scale:]}".rstrip("0").rstrip(".")
    text = f"-{digits}" if stored < 0 else digits
    return b"n%d:%b" % (len(text), text.encode())


def canonical(value: Value) -> bytes:
    """One value in the form that two archives share, whatever types their columns have.

    1, 1.0 and 1.00 are one number. Each value is preceded by its kind and length, so that no two
    rows of values run together into the same bytes.
    """
    match value:
        case None:
            return b"-0:"
        case bool():
            kind, text = b"b", str(int(value))
        case int() | Decimal():
            kind, text = b"n", format(EXACT.add(EXACT.normalize(Decimal(value)), 0), "f")
        case float():
            kind, text = b"f", value.hex()
        case date():
            kind, text = b"d", value.isoformat()
        case _:
            kind, text = b"t", str(value)
    data = text.encode()
    return b"%b%d:%b" % (kind, len(data), data)


def view_secret(directory: Path, nonce: bytes) -> bytes:
    """Make the secret of one comparison out of the archives' own.

    Raises:
        Invalid: This archive has none.
    """
    try:
        shared = (directory / SECRET_FILE).read_bytes()
    except OSError:
        shared = b""
    if len(shared) != SECRET_BYTES:
        raise Invalid(
            "this archive shares no secret with another, so it cannot be compared. Its owner gives"
            " it one: psp archive share-secret"
        )
    return hmac.digest(shared, _LABEL + nonce, "sha256")


def share_secret(directories: Collection[Path]) -> None:
    """Give several archives one new secret, so that they can be compared with one another.

    Raises:
        ArchiveError: One of them is no archive, or has a secret already; none was changed.
    """
    for directory in directories:
        if not (directory / "keys").is_dir():
            raise ArchiveError(f"{directory} is no archive. Name the archives' own directories.")
        if (directory / SECRET_FILE).exists():
            raise ArchiveError(
                f"{directory} shares a secret already. To compare it with others as well, copy its"
                f" {SECRET_FILE} to them; to end that, remove the file."
            )
    secret = secrets.token_bytes(SECRET_BYTES)
    for directory in directories:
        file = directory / SECRET_FILE
        file.touch(mode=0o600, exist_ok=False)
        file.write_bytes(secret)
