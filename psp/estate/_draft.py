"""From files to a proposal: which archives an estate will have, and under which schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

from psp.errors import EstateError, IntakeRefused
from psp.totebox import Column, ColumnType, Table, propose_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What `create_estate` will make once a person has approved it: one table of some archives.

    Attributes:
        files: One source per archive, by the archive's name.
        kind: What sort of archives they are, such as `books`; all of one kind have the same tables.
        null: The one text that stands for "no value" in a CSV file.
        accept_partial: Seal a file although some of its rows do not fit.
        engine: What keeps the archives' indexes: sqlite or duckdb.
    """

    root: Path
    files: Mapping[str, Path]
    table: Table
    null: str
    accept_partial: bool = False
    engine: str = "sqlite"
    kind: str = ""


def draft_estate(
    root: Path,
    files: Sequence[Path],
    *,
    table: str | None = None,
    currencies: Mapping[str, str] | None = None,
    null: str = "",
    text: Sequence[str] = (),
) -> Draft:
    """Look at the files and propose one schema for all of them. Nothing is written.

    Raises:
        EstateError: The directory exists, a file is missing, or two files have one name.
        IntakeRefused: A file cannot be read, or its columns are not those of the others.
    """
    if root.exists():
        raise EstateError(f"{root} exists already. Choose another name, or remove it")
    if not files:
        raise EstateError("no files were given. Name at least one after --from")
    for file in files:
        if not file.is_file():
            raise EstateError(f"there is no file {file}. Check the name after --from")
    named: dict[str, Path] = {}
    for file in files:
        # It names a directory and other files, and stands in tables: `..csv` would name `.`.
        if file.stem.startswith(".") or not file.stem.isprintable():
            raise EstateError(
                f"{str(file)!r} cannot name an archive. Rename it: printable characters, the first"
                " of them not a point"
            )
        if (other := named.setdefault(file.stem, file)) != file:
            raise EstateError(
                f"{other} and {file} would both become the archive {file.stem!r}. Rename one"
            )
    name = table or root.name
    proposals = {member: propose_table(file, name, null=null) for member, file in named.items()}
    return Draft(
        root=root,
        files=named,
        table=_with_choices(_merge_all(proposals), currencies or {}, text),
        null=null,
    )


def _merge_all(proposals: Mapping[str, Table]) -> Table:
    """One table that fits every file; the keys must hold in each."""
    first_name, first = next(iter(proposals.items()))
    for name, table in proposals.items():
        if table.column_names != first.column_names:
            differ = sorted(set(table.column_names) ^ set(first.column_names))
            raise IntakeRefused(
                f"{name!r} and {first_name!r} have different columns: {', '.join(differ[:5])}."
                " Give files of one shape, or make an estate for each shape"
            )
    columns = tuple(
        reduce(_merge_column, (table.columns[index] for table in proposals.values()))
        for index in range(len(first.columns))
    )
    # The longest proposed key is unique in every file: each shorter one is a part of what the
    # same candidates gave elsewhere, or else all columns are the key.
    key = max((table.key for table in proposals.values()), key=len)
    nullable = {column.name for column in columns if column.nullable}
    if nullable & set(key):
        raise IntakeRefused(
            f"no key fits every file: {sorted(nullable & set(key))[0]!r} is empty in some."
            " Give every row a value there"
        )
    subject = next((table.subject for table in proposals.values() if table.subject), None)
    return replace(first, columns=columns, key=key, subject=subject)


# What two files' ideas of one column become. Anything else is text, which holds all.
_WIDER: dict[frozenset[ColumnType], ColumnType] = {
    frozenset({ColumnType.INTEGER, ColumnType.DECIMAL}): ColumnType.DECIMAL,
    frozenset({ColumnType.INTEGER, ColumnType.FLOAT}): ColumnType.FLOAT,
    frozenset({ColumnType.DECIMAL, ColumnType.FLOAT}): ColumnType.FLOAT,
}


def _merge_column(left: Column, right: Column) -> Column:
    kinds = {left.type, right.type}
    kind = left.type if len(kinds) == 1 else _WIDER.get(frozenset(kinds), ColumnType.TEXT)
    return Column(
        name=left.name,
        type=kind,
        scale=max(left.scale, right.scale) if kind is ColumnType.DECIMAL else 0,
        nullable=left.nullable or right.nullable,
    )


def _with_choices(table: Table, currencies: Mapping[str, str], text: Sequence[str]) -> Table:
    """The proposal with what the operator knows better than the files."""
    for option, names in (("--currency", currencies), ("--text", text)):
        if unknown := [name for name in names if name not in table.column_names]:
            raise EstateError(
                f"{option} names the column {unknown[0]!r}; there are"
                f" {', '.join(table.column_names)}"
            )

    def chosen(column: Column) -> Column:
        if column.name in currencies:
            return replace(column, type=ColumnType.DECIMAL, currency=currencies[column.name])
        if column.name in text:
            return replace(column, type=ColumnType.TEXT, scale=0)
        return column

    return replace(table, columns=tuple(map(chosen, table.columns)))
