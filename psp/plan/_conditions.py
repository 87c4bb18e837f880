"""The conditions of a `where`, each one column's row domain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from psp.capability import RowDomain, between, one_of, starts_with

from ._plan import Filter
from ._question import MEMBER
from ._source import Source, class_of, number

if TYPE_CHECKING:
    from sqlglot.expressions import Expression as Node

Literal: TypeAlias = "int | Decimal | str | bool | date"

# x < 5 read from the other side is 5 > x.
_MIRRORED: Final = {"LT": "GT", "LTE": "GTE", "GT": "LT", "GTE": "LTE", "EQ": "EQ"}

_CONDITIONS: Final = "=, in, between, <, <=, >, >=, like 'prefix%', joined with `and`"
_SENTENCES: Final = {
    "Or": "psp has no `or`; ask twice, or use `in (…)` for several values of one column",
    "Not": f"psp has no `not`; a condition is one of {_CONDITIONS}",
    "NEQ": f"psp has no `<>`; a condition is one of {_CONDITIONS}",
    "Is": "psp cannot ask for null; a row without a value passes no condition on that column",
    "ILike": "psp compares text exactly; use like 'prefix%'",
}


@dataclass(frozen=True, slots=True)
class Conditions:
    """Reads conditions.

    Attributes:
        column: Gives a column's name, and refuses one that is not of this question's table.
    """

    source: Source
    column: Callable[[Node], str]

    def refuse(self, node: object, sentence: str) -> NoReturn:
        self.source.refuse(node, sentence)

    def filter(self, node: Node) -> Filter:
        kind, column, values = class_of(node), node.this, node.args.get("expression")
        if kind in _MIRRORED and class_of(column) != "Column" and class_of(values) == "Column":
            kind, column, values = _MIRRORED[kind], values, column
        read = _READERS.get(kind)
        if read is None or class_of(column) != "Column":
            fallback = f"a condition is one of {_CONDITIONS}, with a column on its left"
            self.refuse(node, _SENTENCES.get(kind, fallback))
        if (name := self.column(column)) == MEMBER:
            self.refuse(
                column, "`member` can be grouped by, not filtered on; choose members by label"
            )
        try:
            return Filter(name, read(self, kind, node, values))
        except ValueError as exc:
            self.refuse(values or node, str(exc).removesuffix("."))

    def compared(self, kind: str, node: Node, values: Node | None) -> RowDomain:
        value = self.literal(values)
        if kind == "EQ":
            return one_of([value])
        bound, open_end = self.bound(value), kind in ("LT", "GT")
        if kind in ("LT", "LTE"):
            return between(None, bound, high_open=open_end)
        return between(bound, None, low_open=open_end)

    def among(self, kind: str, node: Node, values: Node | None) -> RowDomain:
        if node.args.get("query"):
            self.refuse(node, "psp has no subqueries; list the values")
        return one_of([self.literal(each) for each in node.expressions])

    def within(self, kind: str, node: Node, values: Node | None) -> RowDomain:
        low, high = self.literal(node.args["low"]), self.literal(node.args["high"])
        return between(self.bound(low), self.bound(high))

    def like(self, kind: str, node: Node, values: Node | None) -> RowDomain:
        pattern = self.literal(values)
        if not isinstance(pattern, str) or set("%_") & set(pattern.removesuffix("%")):
            raise ValueError("`like` takes a text with one % at its end, as in like 'prefix%'")
        return starts_with(pattern[:-1]) if pattern.endswith("%") else one_of([pattern])

    def literal(self, node: Node | None) -> Literal:
        match class_of(node), node:
            case "Literal", literal if literal is not None:
                return str(literal.name) if literal.args["is_string"] else number(literal.name)
            case "Boolean", truth if truth is not None:
                return bool(truth.this)
            case "Neg", negated if negated is not None and class_of(negated.this) == "Literal":
                return -number(negated.this.name)
            case "Cast", cast if cast is not None and cast.args["to"].this.name == "DATE":
                return date.fromisoformat(cast.this.name)
        self.refuse(
            node, "a condition compares a column with values written out, as in 'text' or 12.5"
        )

    def bound(self, value: Literal) -> int | Decimal | date:
        # The asker has no schema. Only dates and numbers have intervals, so a quoted end is a date;
        # what it means for `=` and `in` is for the archive to say, which knows the column.
        if isinstance(value, str):
            try:
                return date.fromisoformat(value)
            except ValueError:
                raise ValueError(
                    f"{value!r} is neither a number nor a date such as '2014-05-02';"
                    " texts can be compared with = , in and like 'prefix%'"
                ) from None
        return value


_READERS: Final[dict[str, Callable[[Conditions, str, Node, Node | None], RowDomain]]] = {
    "EQ": Conditions.compared,
    "LT": Conditions.compared,
    "LTE": Conditions.compared,
    "GT": Conditions.compared,
    "GTE": Conditions.compared,
    "In": Conditions.among,
    "Between": Conditions.within,
    "Like": Conditions.like,
}
