"""The two programmes of the demo: what is asked of which records, for whom, in which words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from psp.estate import TenantPolicy
from psp.totebox import Column, ColumnType, Table

from ._data import FLIGHTS, HOUSES, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoSums:
    """Two sums over the scene's archive that differ by one record.

    Attributes:
        figure: The column that is added up.
        by, most: A column, and the value of it that all records but one have at most.
    """

    figure: str
    by: str
    most: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """One estate and the view over it.

    Attributes:
        question: Gives a count named `sales`, a sum named `volume` and a ratio named `ppsf` per
            member and month. One question gives totals, trend and members, so nothing is asked
            twice and there is no second answer from which to subtract the first.
        listed: Columns whose whole domain is public. The manifest lists them, so that a month with
            nothing in it is told apart from a month that nobody asked about.
        names: What the two tenants are called on the page, the owner first.
        words: What the three figures, a member and a subject are called.
        falls: Whether a fall of the ratio is an exception; a fall of a delay is not.
        scene_member: The archive that the scenes about one archive use.
        shown_of_row: What the scene about one row reads of it.
        two_sums: What the scene about two sums asks; None where nothing stands out.
    """

    title: str
    source: Source
    owner: TenantPolicy
    lender: TenantPolicy
    question: str
    listed: Mapping[str, Column]
    label: str
    words: Mapping[str, str]
    subjects: str
    currency: str
    names: tuple[str, str]
    falls: bool
    scene_member: str
    shown_of_row: tuple[str, ...]
    two_sums: TwoSums | None = None

    @property
    def tenants(self) -> tuple[TenantPolicy, TenantPolicy]:
        return (self.owner, self.lender)

    def table(self, proposed: Table) -> Table:
        """The proposed table with what its owner knows and the files do not say."""
        return replace(
            proposed,
            key=self.source.key,
            subject=self.source.subject,
            columns=tuple(self._column(column) for column in proposed.columns),
        )

    def _column(self, column: Column) -> Column:
        if column.name in self.source.key:
            column = replace(column, nullable=False)
        listed = self.listed.get(column.name)
        if listed is None:
            return column
        return replace(column, values=listed.values, from_=listed.from_, to=listed.to)

    def period(self, value: object) -> str:
        """The text of one month, however the records write it."""
        return value if isinstance(value, str) else f"2013-{value:02}"


def _owner(by: str, columns: tuple[str, ...], sentence: str) -> TenantPolicy:
    return TenantPolicy(
        name="owner",
        sentence=sentence,
        pairing="USER",
        columns=columns,
        by=(by,),
        floor=1,
        objects={"ledger": ("prove",)},
    )


def _lender(by: str, columns: tuple[str, ...], sentence: str) -> TenantPolicy:
    return TenantPolicy(
        name="lender",
        sentence=sentence,
        pairing="INTERFACE",
        operations=("count", "sum", "mean"),
        columns=columns,
        by=(by,),
        floor=10,
        objects={},
    )


ESTATE: Final = Programme(
    title="Kings estate",
    source=HOUSES,
    # Price per square foot is a ratio of sums, so the living area is among the columns.
    owner=_owner(
        "date",
        ("id", "date", "price", "sqft_living"),
        "It sees every month of its own companies, and no coordinates.",
    ),
    lender=_lender(
        "date", ("price", "sqft_living"), "It sees aggregates of ten properties or more."
    ),
    question=(
        "select member, date_trunc('month', date) as month, count(*) as sales,"
        " sum(price) as volume, sum(price) / sum(sqft_living) as ppsf from sales"
        " group by member, month"
    ),
    listed={
        "date": Column(
            name="date", type=ColumnType.DATE, from_=date(2014, 5, 1), to=date(2015, 5, 31)
        )
    },
    label="King County {}",
    words={},
    subjects="properties",
    currency="USD",
    names=("owner's office", "lender"),
    falls=True,
    scene_member="98103",
    shown_of_row=("id", "date", "price"),
    # One of its houses is said to have 33 bedrooms, and everybody can look that up.
    two_sums=TwoSums(figure="price", by="bedrooms", most=30),
)

SCALE: Final = Programme(
    title="New York flights",
    source=FLIGHTS,
    owner=_owner(
        "month",
        ("month", "distance", "arr_delay"),
        "It sees every month of every carrier.",
    ),
    lender=_lender(
        "month", ("distance", "arr_delay"), "It sees aggregates of ten aircraft or more."
    ),
    question=(
        "select member, month, count(*) as sales, sum(distance) as volume,"
        " avg(arr_delay) as ppsf from flights group by member, month"
    ),
    listed={"month": Column(name="month", type=ColumnType.INTEGER, values=tuple(range(1, 13)))},
    label="carrier {}",
    words={
        "member": "Carrier",
        "members": "carriers",
        "sales": "Flights",
        "volume": "Miles",
        "ppsf": "Mean delay, min",
    },
    subjects="aircraft",
    currency="",
    names=("operations", "regulator"),
    falls=False,
    scene_member="UA",
    shown_of_row=("year", "month", "day", "flight", "distance"),
)
