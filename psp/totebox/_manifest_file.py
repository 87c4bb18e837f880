"""The manifest in its file form, TOML, and a table's form inside a ledger entry."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from enum import StrEnum
from typing import Final, TypeVar

from psp.errors import ArchiveError

from ._concentration import Concentration
from ._manifest import Column, ColumnType, Manifest, ReadPolicy, State, Table

FORMAT: Final = 1
"""The format of an archive is a promise: a later release reads every earlier number."""

_Choice = TypeVar("_Choice", bound=StrEnum)


def write_manifest(manifest: Manifest) -> str:
    """Write a manifest as TOML; the same manifest gives the same text."""
    return "\n".join(_manifest_lines(manifest)) + "\n"


def read_manifest(text: str) -> Manifest:
    """Read a manifest back.

    Raises:
        ArchiveError: Not TOML, not a manifest of this format, or contradictory.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ArchiveError(
            f"manifest.toml is not TOML: {exc}. Correct that line, or restore the file."
        ) from exc
    return _manifest_from(_Fields("manifest.toml", document))


def table_to_dict(table: Table) -> dict[str, object]:
    """Give a table as plain values, for a ledger entry; `table_from_dict` reads it back."""
    return {
        "name": table.name,
        "key": list(table.key),
        **({"subject": table.subject} if table.subject else {}),
        "columns": [_column_to_dict(column, date.isoformat) for column in table.columns],
    }


def table_from_dict(document: object) -> Table:
    """Read a table from plain values.

    Raises:
        ArchiveError: A field is missing, unknown or of the wrong type.
    """
    return _table_from(_Fields("table", document))


def _manifest_lines(manifest: Manifest) -> Iterator[str]:
    yield "# The truth about this archive. Its ledger holds every change."
    yield f"format = {FORMAT}"
    yield f"name = {_toml(manifest.name)}"
    yield f"title = {_toml(manifest.title)}"
    yield f"archive_id = {_toml(manifest.archive_id.hex())}"
    yield f"module_id = {_toml(manifest.module_id)}"
    yield f"kind = {_toml(manifest.kind)}"
    yield f"state = {_toml(manifest.state.value)}"
    if manifest.transitions:
        yield f"transitions = {manifest.transitions}"
    yield f"engine = {_toml(manifest.engine)}"
    yield "\n[policy]"
    yield "# No published cell stands for fewer subjects than this."
    yield f"floor = {manifest.floor}"
    yield "# When a read is on record: before-answer, or within-1s."
    yield f"reads = {_toml(manifest.reads.value)}"
    if not manifest.remembers:
        yield "# Each answer is looked at alone: two of them can be subtracted."
        yield "history = false"
    rules = manifest.concentration
    if rules.largest:
        yield "# No sum of which the n largest subjects make more than k percent: [n, k]."
        yield f"dominance = [{rules.largest}, {rules.percent}]"
    if rules.p_percent:
        yield "# No sum that tells the largest subject's part to within p percent."
        yield f"p_percent = {rules.p_percent}"
    yield "\n[labels]"
    for name, value in manifest.labels.items():
        yield f"{_toml(name)} = {_toml(value)}"
    for table in manifest.tables:
        yield "\n[[tables]]"
        yield f"name = {_toml(table.name)}"
        yield f"key = {_toml(list(table.key))}"
        if table.subject:
            yield f"subject = {_toml(table.subject)}"
        for column in table.columns:
            yield "\n[[tables.columns]]"
            for name, plain in _column_to_dict(column, lambda day: day).items():
                yield f"{name} = {_toml(plain)}"


def _column_to_dict(column: Column, write_date: Callable[[date], object]) -> dict[str, object]:
    fields: dict[str, object] = {"name": column.name, "type": column.type.value}
    if column.type is ColumnType.DECIMAL:
        fields["scale"] = column.scale
    if column.currency:
        fields["currency"] = column.currency
    if column.values:
        fields["values"] = list(column.values)
    if column.from_ and column.to:
        fields |= {"from": write_date(column.from_), "to": write_date(column.to)}
    if column.nullable:
        fields["nullable"] = True
    return fields


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | date():
            return str(value)
        case str():
            # JSON's escapes are TOML's, but for DEL, which TOML wants escaped and JSON does not.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no place in a manifest")


class _Fields:
    """One TOML table, read field by field; what nobody asked for is an error, never ignored."""

    def __init__(self, where: str, document: object) -> None:
        if not isinstance(document, dict):
            raise ArchiveError(f"{where} is not a table of fields; restore the manifest.")
        self.where = where
        self._rest: dict[str, object] = dict(document)

    def take(self, name: str, kind: type, default: object = None) -> object:
        if name not in self._rest:
            if default is None:
                raise ArchiveError(f"{self.where} has no field {name!r}; add it.")
            return default
        value = self._rest.pop(name)
        # bool is an int to Python; a floor of `true` is a mistake.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ArchiveError(
                f"{self.where}: the field {name!r} is {value!r}; it must be {kind.__name__}."
            )
        return value

    def text(self, name: str, default: str | None = None) -> str:
        return str(self.take(name, str, default))

    def optional_text(self, name: str) -> str | None:
        return self.text(name, "") or None

    def integer(self, name: str, default: int | None = None) -> int:
        value = self.take(name, int, default)
        assert isinstance(value, int)
        return value

    def day(self, name: str) -> date | None:
        """A date is TOML's own in the manifest, and text in a ledger entry, which is JSON."""
        value = self._rest.pop(name, None)
        try:
            return date.fromisoformat(value) if isinstance(value, str) else _date_or_none(value)
        except (TypeError, ValueError):
            raise ArchiveError(
                f"{self.where}: the field {name!r} is {value!r}; write a date, as in 2014-05-02."
            ) from None

    def list(self, name: str, kinds: tuple[type, ...], default: object = None) -> list[object]:
        values = self.take(name, list, default)
        assert isinstance(values, list)
        for value in values:
            if not isinstance(value, kinds):
                raise ArchiveError(f"{self.where}: the list {name!r} cannot hold {value!r}.")
        return values

    def end(self) -> None:
        if self._rest:
            raise ArchiveError(
                f"{self.where} has a field {min(self._rest)!r} that this release does not know;"
                " a newer release wrote it, or it is misspelt."
            )


def _date_or_none(value: object) -> date | None:
    if value is None or type(value) is date:
        return value
    raise TypeError


def _manifest_from(fields: _Fields) -> Manifest:
    if (found := fields.integer("format")) != FORMAT:
        raise ArchiveError(
            f"manifest.toml has the format {found}; this release reads {FORMAT}."
            " Update psp-protocol."
        )
    policy = _Fields("[policy]", fields.take("policy", dict))
    labels = fields.take("labels", dict, {})
    assert isinstance(labels, dict)
    manifest = Manifest(
        name=fields.text("name"),
        archive_id=_hex(fields.text("archive_id")),
        module_id=fields.text("module_id"),
        kind=fields.text("kind"),
        state=_choice(State, fields.text("state"), "state"),
        transitions=fields.integer("transitions", 0),
        engine=fields.text("engine"),
        title=fields.text("title", ""),
        labels={str(name): str(value) for name, value in labels.items()},
        tables=tuple(
            _table_from(_Fields("[[tables]]", table))
            for table in fields.list("tables", (dict,), [])
        ),
        floor=policy.integer("floor"),
        remembers=policy.take("history", bool, True) is True,
        concentration=_concentration_from(policy),
        reads=_choice(ReadPolicy, policy.text("reads", ReadPolicy.BEFORE_ANSWER.value), "reads"),
    )
    policy.end()
    fields.end()
    return manifest


def _concentration_from(policy: _Fields) -> Concentration:
    pair = policy.list("dominance", (int,), [])
    if len(pair) not in (0, 2):
        raise ArchiveError(
            f"[policy]: dominance has {len(pair)} numbers; it has two, n and k percent."
        )
    largest, percent = (int(str(one)) for one in pair or (0, 0))
    return Concentration(largest, percent, policy.integer("p_percent", 0))


def _table_from(fields: _Fields) -> Table:
    name = fields.text("name")
    columns = fields.list("columns", (dict,))
    table = Table(
        name=name,
        key=tuple(map(str, fields.list("key", (str,)))),
        subject=fields.optional_text("subject"),
        columns=tuple(_column_from(_Fields(f"a column of {name!r}", one)) for one in columns),
    )
    fields.end()
    return table


def _column_from(fields: _Fields) -> Column:
    column = Column(
        name=fields.text("name"),
        type=_choice(ColumnType, fields.text("type"), "type"),
        scale=fields.integer("scale", 0),
        currency=fields.optional_text("currency"),
        values=tuple(
            value for value in fields.list("values", (str, int), []) if isinstance(value, str | int)
        ),
        from_=fields.day("from"),
        to=fields.day("to"),
        nullable=fields.take("nullable", bool, False) is True,
    )
    fields.end()
    return column


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ArchiveError(
            f"the archive id {text!r} is not hexadecimal; restore manifest.toml."
        ) from None


def _choice(choices: type[_Choice], word: str, field_name: str) -> _Choice:
    try:
        return choices(word)
    except ValueError:
        raise ArchiveError(
            f"the {field_name} {word!r} does not exist; choose one of {', '.join(choices)}."
        ) from None
