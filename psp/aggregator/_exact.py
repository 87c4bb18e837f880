"""Numbers and codes that a person wrote into a file, exactly as written."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


def exact_from_text(value: object) -> Decimal | None:
    """The number that a text or an integer says; None for anything else, a float above all."""
    if type(value) is int and value >= 0:
        return Decimal(value)
    return Decimal(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else None


def is_currency(text: str) -> bool:
    """Whether a text has the form of an ISO 4217 code."""
    return bool(_CURRENCY.fullmatch(text))
