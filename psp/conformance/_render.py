"""Values and frames as JSON, and back: the form in which the cases are written.

JSON has fewer types than PSP, so what it cannot say is an object with one telling key:
{"decimal": "1.20"}, {"date": "2026-01-02"}, {"instant": "2026-01-02T03:04:05.000006Z"},
{"bytes": "00ff"} (or parts, as `from_hex` reads them, if it is one byte over and over),
{"float": 1.5}, {"integer": "9223372036854775807"} (beyond 2^53, which many readers of JSON round),
{"promised": target}. A map that would read as one of these is wrapped: {"map": {...}}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

from psp.values import to_text
from psp.wire import Promised

from ._cases import from_hex

_REPEATED_BYTES_MIN: Final = 64
_EXACT_IN_JSON: Final = 2**53

_READERS: Final[Mapping[str, Callable[[Any], object]]] = {
    "decimal": Decimal,
    "date": date.fromisoformat,
    "instant": lambda text: datetime.fromisoformat(text).astimezone(UTC),
    "bytes": from_hex,
    "float": float,
    "integer": int,
    "promised": lambda target: Promised(target),
    "map": lambda items: {key: from_json(item) for key, item in items.items()},
}


def to_json(value: object) -> Any:
    """Write a value, or the places of a frame, as JSON."""
    match value:
        case bool() | str() | None:
            return value
        case int():
            return value if abs(value) <= _EXACT_IN_JSON else {"integer": str(value)}
        case float():
            return {"float": value}
        case bytes():
            return {"bytes": _bytes_to_json(value)}
        case Decimal():
            return {"decimal": str(value)}
        case datetime():
            return {"instant": to_text(value)}
        case date():
            return {"date": to_text(value)}
        case Promised():
            return {"promised": value.target}
        case list() | tuple():
            return [to_json(item) for item in value]
        case dict():
            items = {key: to_json(item) for key, item in value.items()}
            return {"map": items} if len(items) == 1 and _READERS.keys() & items else items
    raise TypeError(f"a {type(value).__name__} is no value of PSP/1; write one that is")


def from_json(written: Any) -> Any:
    """Read back what `to_json` wrote."""
    if isinstance(written, list):
        return [from_json(item) for item in written]
    if isinstance(written, dict):
        if len(written) == 1:
            ((key, inner),) = written.items()
            if key in _READERS:
                return _READERS[key](inner)
        return {key: from_json(item) for key, item in written.items()}
    return written


def _bytes_to_json(value: bytes) -> Any:
    if len(value) >= _REPEATED_BYTES_MIN and not value.strip(value[:1]):
        return [{"repeat": value[:1].hex(), "times": len(value)}]
    return value.hex()
