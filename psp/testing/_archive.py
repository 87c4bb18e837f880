"""A table of plain rows, as one grant sees it: to try a scope before anybody gets it."""

from __future__ import annotations

import csv
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.capability import (
    Grant,
    Layer,
    Operation,
    Scope,
    TableRule,
    archive_id_of,
    ceiling,
    decode_chain_untrusted,
    domain_words,
    effective_scope,
    explain,
    rule_sentence,
    sign_anchor,
)
from psp.errors import CapabilityError, Denied
from psp.plan import plan_from_sql
from psp.totebox import Archive as Totebox
from psp.totebox import Engine, Manifest, Table, propose_table
from psp.transport import MachineKey
from psp.values import Value

_NONCE: Final = bytes(16)
_USES: Final = (("output", "shown"), ("filters", "filtered by"), ("groups", "grouped by"))

Granted: TypeAlias = "Grant | Scope | bytes | Sequence[Scope]"
"""A grant; a scope not yet signed, or several, root first; or a token, whose links are read and
not verified."""


class Archive:
    """A real archive in a directory of its own, which goes when the object goes."""

    def __init__(
        self,
        rows: Iterable[Mapping[str, Value]],
        *,
        table: str = "rows",
        key: Sequence[str] = (),
        subject: str | None = None,
        floor: int = 1,
    ) -> None:
        """Seal rows in an archive; types are found as `psp estate new` finds them.

        Args:
            rows: At least one; all with the columns of the first. None and "" are no value.
            key: The columns that identify a row; found where it is empty.
            subject: The column that names whom a row is about.
            floor: The owner's.

        Raises:
            IntakeRefused: They do not make a table; the message says why.
        """
        self.directory = Path(tempfile.mkdtemp(prefix="psp-testing-"))
        self._removed = weakref.finalize(self, shutil.rmtree, self.directory, ignore_errors=True)
        file = self.directory / f"{table}.csv"
        _write(file, list(rows))
        found = propose_table(file, table)
        self.table = replace(
            found, key=tuple(key) or found.key, subject=subject if subject else found.subject
        )
        self.floor = floor
        with _found(self.directory / "archive", self.table, floor) as archive:
            archive.ingest(file, table, operator="test", now=datetime.now(UTC))
            self.index_path = archive.index_path

    def seen_by(self, grant: Granted, *, pairing: str = "USER") -> Seen:
        """Show the table as a grant sees it that comes through a machine of this pairing."""
        return Seen(self, tuple(self._layers(grant, pairing)))

    def close(self) -> None:
        """Remove the directory now."""
        self._removed()

    def _layers(self, grant: Granted, pairing: str) -> Iterable[Layer]:
        if isinstance(grant, Grant):  # Its scope has met its pairing already.
            yield Layer("grant", grant.scope)
            return
        tables = {self.table.name: self.table.column_names}
        yield Layer(f"pairing {pairing}", ceiling(pairing, tables, self.floor))
        if isinstance(grant, bytes):
            grant = [link.scope for link in decode_chain_untrusted(grant).links]
        for at, scope in enumerate([grant] if isinstance(grant, Scope) else grant):
            yield Layer(f"link {at}", scope)


@dataclass(frozen=True, slots=True)
class Told:
    """What a question was told.

    Attributes:
        rows: Each a mapping of output to value.
        hidden: How many groups disclosure control has hidden.
    """

    rows: list[dict[str, Value]]
    hidden: int


@dataclass(frozen=True)
class Seen:
    """A table, as one grant sees it; `print` it, or ask it.

    Attributes:
        layers: What was met, in order: the pairing, then each link.
    """

    archive: Archive
    layers: tuple[Layer, ...]
    scope: Scope = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scope", effective_scope(self.layers))

    @property
    def rule(self) -> TableRule | None:
        """What is left for the table; None if it is not there at all."""
        return self.scope.tables.get(self.archive.table.name)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are there, in the table's order."""
        return tuple(it for it in self.archive.table.column_names if self._uses_of(it, self.rule))

    @property
    def row_count(self) -> int:
        """How many rows are there for it: more than it may be told."""
        return 0 if self.rule is None else self._count(self.rule)

    def ask(self, question: str) -> Told:
        """Ask in SQL; the answer is the one that the archive gives on the wire.

        Raises:
            QuestionError: The question cannot be read.
            CallFailed: As the archive refuses it.
        """
        asked = plan_from_sql(question)
        with closing(self._engine()) as engine:
            answer = engine.query(asked.plan)
        cells, hidden = answer["cells"], answer["hidden_count"]
        assert isinstance(cells, list)
        assert isinstance(hidden, int)
        names = [output.name for output in asked.outputs]
        rows = asked.arrange([asked.row(*cell, member="") for cell in cells])
        return Told([dict(zip(names, row, strict=True)) for row in rows], hidden)

    def read(self, *key: Value) -> dict[str, Value]:
        """Read one row by its key.

        Raises:
            CallFailed: As the archive refuses it; a row that is not shown is not there.
        """
        with closing(self._engine()) as engine:
            row = engine.row(key)
        if row is None:
            raise Denied
        return row

    def __str__(self) -> str:
        """Say which columns and how many rows are there, and what hides the others."""
        table, rule = self.archive.table, self.rule
        everything = self._count(TableRule(operations=frozenset({Operation.COUNT})))
        width = max(len(name) for name in table.column_names)
        lines = [
            f"{table.name}: {self.row_count} of {everything} rows,"
            f" {len(self.columns)} of {len(table.columns)} columns",
            # The type too: a condition on text lets no row of a number through.
            *(
                f"  {each.name:<{width}}  {each.type.value:<7}  {self._column_words(each.name)}"
                for each in table.columns
            ),
            *(f"  {line}" for line in self._hidden_rows(everything)),
            f"allows: {'nothing' if rule is None else rule_sentence(rule)}",
            *(f"  taken away by {it}" for it in explain(self.layers)),
        ]
        return "\n".join(lines)

    def _engine(self) -> Engine:
        if self.rule is None:
            raise Denied
        return Engine(
            self.archive.index_path, self.archive.table, self.rule, entity_floor=self.archive.floor
        )

    def _count(self, rule: TableRule) -> int:
        free = TableRule(operations=frozenset({Operation.COUNT}), rows=rule.rows)
        question = plan_from_sql(f"select count(*) from {self.archive.table.name}")
        with closing(Engine(self.archive.index_path, self.archive.table, free)) as engine:
            cells = engine.query(question.plan)["cells"]
        return cells[0][1][0] if cells else 0  # type: ignore[index,return-value]

    def _column_words(self, name: str) -> str:
        if uses := self._uses_of(name, self.rule):
            return ", ".join(uses)
        for layer in self.layers:
            if not self._uses_of(name, layer.scope.tables.get(self.archive.table.name)):
                return f"hidden: {layer.name} names it in none of output, filters, groups"
        return "hidden: no use of it is named by all of them"

    def _hidden_rows(self, everything: int) -> Iterable[str]:
        left, rows = everything, TableRule(operations=frozenset())
        for layer in self.layers:
            rule = layer.scope.tables.get(self.archive.table.name)
            if rule is None:
                yield f"{left} rows hidden by {layer.name}, tables: not named"
                return
            rows = rows.meet(replace(rule, operations=frozenset()))
            now = self._count(rows)
            if now < left:
                words = ", ".join(
                    f"{it} {domain_words(domain)}" for it, domain in rule.rows.items()
                )
                yield f"{left - now} rows hidden by {layer.name}, rows: only where {words}"
            left = now

    @staticmethod
    def _uses_of(name: str, rule: TableRule | None) -> list[str]:
        return [words for part, words in _USES if rule is not None and name in getattr(rule, part)]


def _write(file: Path, rows: Sequence[Mapping[str, Value]]) -> None:
    if not rows:
        raise CapabilityError("no rows were given, and a table is found from its rows; give one.")
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(rows[0])
        for row in rows:
            # In this order and no other column: a key that is missing is a mistake in the test.
            cells = [row[name] for name in rows[0]]
            writer.writerow("" if cell is None else str(cell) for cell in cells)


def _found(directory: Path, table: Table, floor: int) -> Totebox:
    root, anchor, box, ledger = (MachineKey(Ed25519PrivateKey.generate()) for _ in range(4))
    return Totebox.create(
        directory,
        Manifest(
            name="testing",
            archive_id=archive_id_of(root.public_bytes, _NONCE),
            module_id="testing",
            tables=(table,),
            floor=floor,
        ),
        machine_key=box,
        ledger_key=ledger,
        anchor_statement=sign_anchor(
            root,
            anchor_keys=[anchor.public_bytes],
            ledger_key=ledger.public_bytes,
            epoch=1,
            version=1,
            nonce=_NONCE,
        ),
    )
