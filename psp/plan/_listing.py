"""The other thing that may be asked on the wire: rows, as many as a stream can bring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from psp.capability import Operation
from psp.errors import Invalid
from psp.values import Value

from ._plan import Filter, Measure, Plan

COLUMNS_MAX: Final = 512
"""As many as a table of an archive may have."""

_ROWS: Final = (Measure(Operation.COUNT),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Rows of one table of one archive, as its newest state has them, in no order.

    Attributes:
        filters: Which rows; all must hold.
        columns: Which columns, in this order; none for all that the scope shows.
    """

    table: str
    filters: tuple[Filter, ...] = ()
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # A listing is a plan that is not counted: its parts obey the same rules.
        Plan(table=self.table, filters=self.filters, measures=_ROWS)
        if len(self.columns) > COLUMNS_MAX or len(set(self.columns)) < len(self.columns):
            raise ValueError(
                f"{len(self.columns)} columns; name each once, and {COLUMNS_MAX} at most"
            )

    def to_wire(self) -> list[Value]:
        """Give the positional array: table, filters as in a plan, columns."""
        plan = Plan(table=self.table, filters=self.filters, measures=_ROWS).to_wire()
        return [*plan[:2], [*self.columns]]

    @classmethod
    def from_wire_untrusted(cls, wire: object) -> Listing:
        """Read a listing that somebody else wrote.

        Raises:
            Invalid: Whatever is wrong with it. Nothing else is raised.
        """
        if not isinstance(wire, list | tuple) or len(wire) != 3:
            raise Invalid("the listing cannot be read: an array of 3 elements was expected.")
        table, filters, columns = wire
        if (
            not isinstance(columns, list | tuple)
            or len(columns) > COLUMNS_MAX
            or not all(type(name) is str for name in columns)
        ):
            raise Invalid(
                f"the listing cannot be read: at most {COLUMNS_MAX} names of columns were expected."
            )
        counted = Plan(table="t", measures=_ROWS).to_wire()
        plan = Plan.from_wire_untrusted([table, filters, *counted[2:]])
        try:
            return cls(table=plan.table, filters=plan.filters, columns=tuple(columns))
        except ValueError as exc:
            raise Invalid(f"the listing cannot be read: {exc}.") from None
