"""From a listing to the SQL of its rows, over a grant's view and nothing else."""

from __future__ import annotations

from dataclasses import dataclass

from psp.capability import Operation, TableRule
from psp.errors import Denied, Invalid
from psp.plan import Listing

from ._compile import KEY_PREFIX, Scoped, output_columns
from ._dialect import Dialect
from ._index import quoted
from ._manifest import Column, Table
from ._storage import SQLValue, condition, to_typed_domain


@dataclass(frozen=True, slots=True)
class CompiledListing:
    """Two statements with the same parameters, and the columns that the second one gives."""

    count: str
    rows: str
    parameters: tuple[SQLValue, ...]
    columns: tuple[Column, ...]


def compile_listing(
    listing: Listing, table: Table, rule: TableRule, view: str, dialect: Dialect
) -> CompiledListing:
    """Make the SQL of a listing.

    Raises:
        Invalid: It names a column that the scope does not show or filter on.
        Denied: The scope does not allow reading rows, or rounds what it shows.
    """
    if listing.table != table.name:
        raise Invalid(f"the listing asks {listing.table!r}, and this is {table.name!r}.")
    if Operation.READ not in rule.allowed_operations:
        raise Denied("this grant does not allow reading rows; ask for counts and sums.")
    if rule.rounding > 1:
        # Rounded, every column would be new memory; whoever rounds does not mean whole tables.
        raise Denied("this grant rounds what it shows, and rows in columns are not rounded.")
    scope = Scoped(table, rule, dialect)
    columns = tuple(scope.column(name, rule.output, "read") for name in listing.columns) or tuple(
        output_columns(table, rule)
    )
    if not columns:
        raise Denied("this grant shows no column of a row.")
    parameters: list[SQLValue] = []

    def write(value: SQLValue) -> str:
        parameters.append(value)
        return "?"

    conditions = [
        condition(column, to_typed_domain(column, each.domain), write)
        for each in listing.filters
        for column in [scope.column(each.column, rule.filters, "filter on")]
    ]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    names = ", ".join(quoted(column.name) for column in columns)
    return CompiledListing(
        # A column, not *: over the two tables of a state SQLite reports a read of nothing.
        count=f"SELECT count({KEY_PREFIX}0) FROM {quoted(view)}{where}",
        rows=f"SELECT {names} FROM {quoted(view)}{where}",
        parameters=tuple(parameters),
        columns=columns,
    )
