"""Numbers, months and instants as a person reads them. Pure text in, pure text out."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from typing import Final

from ._neutral import neutral

DASH: Final = "–"
"""Stands where there is no figure."""

SYMBOLS: Final = {"USD": "$", "EUR": "€", "GBP": "£", "CAD": "CA$", "AUD": "A$", "INR": "₹"}
"""Signs that mean one currency and no other; the rest are written as their code."""

MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)

_SHORT: Final = ((Decimal(10**12), "tn"), (Decimal(10**9), "bn"), (Decimal(10**6), "m"))
MAGNITUDE_MAX: Final = 76
"""Digits before or after the point: what the widest decimal on the wire can have (psp.values)."""
_DIGITS_MAX: Final = 40
"""A figure of more digits is shown in scientific form, so that it keeps to its column."""
# Rounds for the eye only. Exact figures never pass through here on their way to another figure.
_EYE: Final = Context(prec=80, rounding=ROUND_HALF_EVEN)

_PLACES_MAX: Final = 6
"""Digits after the point that are shown as they are: a rate has four, a coordinate six."""


def decimal_or_none(value: object) -> Decimal | None:
    """Read a figure of a view; None for anything that is not a number of a sane size.

    `1E+999999` is a short text and a long number: it would overflow the sum it is added to.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        figure = Decimal(str(value))
    except (InvalidOperation, ValueError):  # ValueError: Python refuses to print a huge int.
        return None
    if not figure.is_finite() or abs(figure.adjusted()) > MAGNITUDE_MAX:
        return None
    return figure


def count(figure: Decimal | int | None) -> str:
    """Write a figure with its thousands apart, all its digits kept."""
    if figure is None:
        return DASH
    figure = Decimal(figure)
    digits = figure.as_tuple()
    if len(digits.digits) + abs(int(digits.exponent)) > _DIGITS_MAX:
        return f"{figure:.3E}"
    return _minus(f"{figure:,f}")


def readable(figure: Decimal) -> str:
    """Write any figure for a table: a quotient's thirty digits are for JSON, not for eyes."""
    if int(figure.as_tuple().exponent) < -_PLACES_MAX:
        places = 2 if abs(figure) >= 100 else 4
        figure = figure.quantize(Decimal(1).scaleb(-places), context=_EYE)
    return count(figure)


def money(figure: Decimal | None, currency: str) -> str:
    """Write an amount in full: `$11,672,925,008`; cents only if there are any."""
    return DASH if figure is None else _with_currency(count(figure), currency)


def rate(figure: Decimal | None, currency: str) -> str:
    """Write a ratio to two places: `$264.14`."""
    if figure is None:
        return DASH
    return _with_currency(count(figure.quantize(Decimal("0.01"), context=_EYE)), currency)


def short_money(figure: Decimal | None, currency: str) -> str:
    """Write an amount as one says it: `$11.67 bn`, `$81.1 m`, `$998,000`."""
    if figure is None:
        return DASH
    for unit, word in _SHORT:
        scaled = _EYE.divide(figure, unit)
        # 999,996,000 rounds up to 1,000.00 m: ask the next unit first whether it takes it.
        if abs(scaled) >= Decimal("0.99995"):
            return f"{_with_currency(_three_digits(scaled), currency)}\N{NO-BREAK SPACE}{word}"
    return _with_currency(count(figure.quantize(Decimal(1), context=_EYE)), currency)


def share(part: Decimal, whole: Decimal) -> str:
    """Write a part of a whole in per cent, no decimals."""
    return f"{_EYE.divide(part * 100, whole).quantize(Decimal(1), context=_EYE)}\N{NO-BREAK SPACE}%"


def month(period: str) -> tuple[str, str]:
    """Split `2014-05` into ("May", "2014"); anything else is given back as it is."""
    year, dash, number = period.partition("-")
    if dash and len(number) == 2 and number.isascii() and number.isdigit():
        index = int(number)
        if 1 <= index <= 12:
            return MONTHS[index - 1], year
    return period, ""


def period_words(period: str) -> str:
    """Write a period in words: `May 2014`."""
    return " ".join(part for part in month(period) if part)


def instant(text: str) -> str:
    """Write an ISO instant as `28 May 2015, 09:41 UTC`; text that is none, neutralised."""
    when = _instant_or_none(text)
    if when is None:
        return neutral(text, 40)
    return f"{when.day} {MONTHS[when.month - 1]} {when.year}, {when:%H:%M} UTC"


def since(text: str) -> str:
    """Write when a state began: the time of day stands first, a reader looks for that."""
    when = _instant_or_none(text)
    if when is None:
        return neutral(text, 40)
    return f"{when:%H:%M} UTC, {when.day} {MONTHS[when.month - 1]}"


def _instant_or_none(text: str) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _three_digits(figure: Decimal) -> str:
    places = 2 if abs(figure) < 100 else 1
    return count(figure.quantize(Decimal(1).scaleb(-places), context=_EYE))


def _with_currency(text: str, currency: str) -> str:
    if not currency:
        return text
    sign = SYMBOLS.get(currency, f"{currency} ")
    return f"−{sign}{text[1:]}" if text.startswith("−") else f"{sign}{text}"


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text
