"""Tables as a rule shows them: what is not granted is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psp.capability import Operation, Scope, TableRule
from psp.values import Value

from ._manifest import Column, Table


def describe_tables(tables: Sequence[Table], scope: Scope) -> list[Value]:
    return [
        describe_table(table, scope.tables[table.name])
        for table in tables
        if table.name in scope.tables
    ]


def describe_table(table: Table, rule: TableRule) -> Mapping[str, Value]:
    """Describe what a rule shows of a table; a column that it does not show is not there.

    A column that only rows are chosen by is not shown: a question cannot name it either.
    """
    if Operation.META not in rule.allowed_operations:
        return {"name": table.name, "columns": []}
    visible = rule.output | rule.filters | rule.groups
    return {
        "name": table.name,
        # All of it or nothing: a part of a key identifies no row.
        "key": list(table.key) if visible.issuperset(table.key) else [],
        "subject": table.subject if table.subject in visible else None,
        "columns": [_describe_column(one) for one in table.columns if one.name in visible],
        "operations": sorted(operation.value for operation in rule.allowed_operations),
        "floor": rule.floor,
    }


def _describe_column(column: Column) -> Mapping[str, Value]:
    return {
        "name": column.name,
        "type": column.type.value,
        "scale": column.scale,
        "currency": column.currency,
        "nullable": column.nullable,
    }
