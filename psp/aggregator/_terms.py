"""On which terms members are brought together: shares, one currency, fiscal periods.

All of it happens to each member's cells before anything is combined, so that ratios and means are
those of the weighed, converted sums.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from psp.capability import Operation
from psp.errors import EstateError, QuestionError
from psp.plan import Bucket, Figure, Measure, Plan, Question, convert, weigh
from psp.values import Value, to_text

from ._exact import exact_from_text, is_currency
from ._reply import Part
from ._roster import Member

PERIODS: Final = ("year", "quarter")
_UNNAMED: Final = "a currency that the estate does not name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Exchange rates that have a name and a day.

    Attributes:
        name: Whose they are, as people are to read it.
        on: Their day.
        to: The currency that they lead to.
        rates: What one unit of another currency is in that one.
    """

    name: str
    on: date
    to: str
    rates: Mapping[str, Decimal]

    @classmethod
    def load(cls, file: Path) -> Rates:
        """Read a TOML file: `name`, `on`, `to`, and a table `rates` of numbers in quotes.

        Raises:
            EstateError: It cannot be read, or is not that; the message names the field.
        """
        try:
            data = tomllib.loads(file.read_text("utf-8"))
            rates = {code: exact_from_text(rate) for code, rate in data["rates"].items()}
            name, on, to = str(data["name"]), data["on"], str(data["to"])
        except KeyError as exc:
            raise EstateError(f"{file} has no field {exc}; see docs/fleet.md") from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, AttributeError) as exc:
            raise EstateError(f"{file} cannot be read as rates: {exc}; see docs/fleet.md") from None
        if wrong := [code for code, rate in rates.items() if not rate or not is_currency(code)]:
            raise EstateError(
                f'{file} has the rate {wrong[0]!r}, which is not as in CHF = "1.0561". A number'
                " without quotes is a float, and no float is that number."
            )
        if type(on) is not date or not is_currency(to):
            raise EstateError(f"{file} has a wrong `on` or `to`; write on = 2026-03-31, to = 'EUR'")
        return cls(
            name=name, on=on, to=to, rates={code: rate for code, rate in rates.items() if rate}
        )

    def rate_from(self, currency: str) -> Decimal | None:
        """What one unit of that currency is worth; None if nobody has said."""
        return Decimal(1) if currency == self.to else self.rates.get(currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a question brings members together.

    Attributes:
        shares: Count each member at the tenant's share of it.
        rates: Convert money by these.
        money: The columns that hold money, none if it is empty. Where nobody has said, every
            decimal figure is money, and every histogram, whose bins have no type: better an error
            about areas than a sum of francs and euros.
        fiscal: `year` or `quarter`: fold months into each member's own fiscal periods.
    """

    shares: bool = False
    rates: Rates | None = None
    money: frozenset[str] | None = None
    fiscal: str = ""

    def check(self, question: Question) -> None:
        """Refuse terms that the question cannot be held to.

        Raises:
            QuestionError: A money column without a figure, an unknown period, or no months.
        """
        figures = {measure.column for measure in question.plan.measures if measure.column}
        if unknown := sorted((self.money or frozenset()) - figures):
            raise QuestionError(
                f"{unknown[0]!r} was named as money, and the question has no figure of it; it has"
                f" figures of {', '.join(sorted(figures)) or 'no column'}."
            )
        if self.fiscal and self.fiscal not in PERIODS:
            raise QuestionError(
                f"{self.fiscal!r} is no fiscal period; there are {', '.join(PERIODS)}."
            )
        if self.fiscal and not any(key.bucket is Bucket.MONTH for key in question.plan.group):
            raise QuestionError(
                f"a fiscal {self.fiscal} is made of months, and the question has none; group by"
                " month(…) of a date column."
            )

    def is_money(self, measure: Measure, figure: Figure) -> bool:
        """Whether a figure is an amount in some currency."""
        if measure.operation is Operation.COUNT:
            return False
        if self.money is not None:
            return measure.column in self.money
        if measure.operation is Operation.HISTOGRAM:
            return True
        parts = figure if isinstance(figure, list | tuple) else [figure]
        return any(isinstance(part, Decimal) for part in parts)

    def to_dict(self) -> dict[str, Any]:
        """The plain form, for whoever reads the answer; empty if nothing special was asked."""
        rates = self.rates
        return {
            **({"shares": True} if self.shares else {}),
            **({"fiscal": self.fiscal} if self.fiscal else {}),
            **(
                {"currency": rates.to, "rates": rates.name, "on": to_text(rates.on)}
                if rates
                else {}
            ),
        }


def on_terms(
    parts: Iterable[Part], plan: Plan, members: Mapping[str, Member], terms: Terms
) -> Iterator[Part]:
    """Bring every cell to the question's terms.

    Raises:
        QuestionError: There is money in a currency without a rate, or a number grows too long.
    """
    for part in parts:
        member = members.get(part.member)
        if member is None or not (terms.shares or terms.rates or terms.fiscal):
            yield part
            continue
        try:
            figures = [
                _on_terms(measure, figure, member, terms)
                for measure, figure in zip(plan.measures, part.figures, strict=True)
            ]
        except (TypeError, ArithmeticError) as exc:
            raise QuestionError(
                f"the figures of {part.member!r} cannot be weighed or converted: {exc}. Leave it"
                " out, or ask without shares and rates."
            ) from None
        yield Part(part.member, _fiscal_key(part.key, plan, member, terms), figures)


def check_currencies(
    parts: Sequence[Part], plan: Plan, members: Mapping[str, Member], terms: Terms
) -> None:
    """Refuse to add two currencies.

    Raises:
        QuestionError: Money of two currencies is among the parts; the message names both.
    """
    if terms.rates is not None:
        return  # All of it is in one currency by now.
    of: dict[str, str] = {}
    for part in parts:
        if part.member in members and _has_money(part, plan, terms):
            of.setdefault(members[part.member].currency, part.member)
    if len(of) > 1:
        (one, first), (other, second) = sorted(of.items())[:2]
        raise QuestionError(
            f"the money of {first!r} is in {one or _UNNAMED}, that of {second!r} in {other}, and no"
            " rate between the two was given. Give rates, group by member, or name the columns that"
            " hold money if these do not."
        )


def fiscal_period(month: str, start: int, unit: str) -> str:
    """The fiscal period of a month such as `2014-05`, named for the year in which it ends.

    Args:
        start: The month in which the fiscal year starts, 1 to 12.
        unit: `year` gives `FY2014`, `quarter` gives `FY2014-Q3`.
    """
    year, number = int(month[:4]), int(month[5:7])
    place = (number - start) % 12
    # A year that starts in January ends in its own year; any other ends in the next one.
    ends = year + (start > 1 and number >= start)
    return f"FY{ends:04d}" + (f"-Q{place // 3 + 1}" if unit == "quarter" else "")


def _on_terms(measure: Measure, figure: Figure, member: Member, terms: Terms) -> Figure:
    if terms.rates is not None and terms.is_money(measure, figure):
        rate = terms.rates.rate_from(member.currency)
        if rate is None:
            raise QuestionError(
                f"the money of {member.name!r} is in"
                f" {member.currency or _UNNAMED}, and"
                f" {terms.rates.name!r} of {terms.rates.on} has no rate from that to"
                f" {terms.rates.to}. Add it to the rates, or name the columns that hold money."
            )
        if member.currency != terms.rates.to:
            figure = convert(measure.operation, figure, rate)
    if terms.shares and member.share != 1:
        figure = weigh(measure.operation, figure, member.share)
    return figure


def _has_money(part: Part, plan: Plan, terms: Terms) -> bool:
    pairs = zip(plan.measures, part.figures, strict=True)
    return any(terms.is_money(measure, figure) for measure, figure in pairs if figure is not None)


def _fiscal_key(
    key: tuple[Value, ...] | None, plan: Plan, member: Member, terms: Terms
) -> tuple[Value, ...] | None:
    if key is None or not terms.fiscal:
        return key
    return tuple(
        _period_or_as_it_came(value, member, terms) if each.bucket is Bucket.MONTH else value
        for each, value in zip(plan.group, key, strict=True)
    )


def _period_or_as_it_came(value: Value, member: Member, terms: Terms) -> Value:
    # A captured member may call its months anything; that is then a group of its own.
    text = value if isinstance(value, str) else ""
    is_month = len(text) == 7 and text[4] == "-" and (text[:4] + text[5:]).isdecimal()
    if not is_month or not text.isascii() or not 1 <= int(text[5:]) <= 12:
        return value
    return fiscal_period(text, member.fiscal_start, terms.fiscal)
