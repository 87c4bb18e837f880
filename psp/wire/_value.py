"""Which values may travel: one walk, used on what comes in and on what goes out."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from math import isfinite
from typing import Final

from ._limits import DEPTH_MAX, INTEGER_MAX, INTEGER_MIN, MAP_KEYS_MAX, NODES_MAX, PROMISED_MAX

# Classes compared exactly: a subclass cannot come from the decoder, and `msgpack.Timestamp`, which
# the decoder makes of extension -1 on its own, must not pass.
PLAIN: Final = frozenset({type(None), bool, str, bytes, Decimal, date, datetime})
CONTAINERS: Final = frozenset({list, dict, tuple})
_COMPOSED: Final = (PLAIN | {int, float}) - {str}
"""What `compose` never changes."""


@dataclass(frozen=True, slots=True)
class Promised:
    """In an argument's place: the answer of an earlier question, or a reference that is held.

    Attributes:
        target: An export id, or `[question, [steps]]`, as in the target of a CALL.
    """

    target: int | list[int | list[str | int]]


class ValueFault(ValueError):
    """A value that may not travel.

    Attributes:
        is_limit: It has a wire form but is larger than a limit.
    """

    def __init__(self, text: str, *, is_limit: bool = False) -> None:
        super().__init__(text)
        self.is_limit = is_limit


def count_values(value: object) -> int:
    """Give how many values, without keys, one is made of."""
    containers: list[object] = [value]
    count = 1
    for container in containers:
        items = container.values() if isinstance(container, dict) else container
        assert isinstance(items, Iterable)
        for item in items:
            count += 1
            if type(item) in CONTAINERS:
                containers.append(item)
    return count


def check_arguments(arguments: list[object]) -> None:
    """Refuse what may not stand in a call's arguments: values, and a few names of answers.

    Raises:
        ValueFault: With what was found. Nothing else is raised.
    """
    if arguments:  # Most calls of a hot loop have none.
        _check_containers(arguments, promised_max=PROMISED_MAX)


def check_value(value: object) -> int:
    """Refuse what is not a value of PSP/1; give how many values and keys it is made of.

    A scalar costs one look at its class; only containers are walked, level by level, because a
    recursive walk would let a peer choose our stack depth.

    Raises:
        ValueFault: With what was found. Nothing else is raised.
    """
    if type(value) in CONTAINERS:
        return _check_containers(value)
    if type(value) not in PLAIN:
        _check_scalar(value)
    return 1


def is_sendable_scalar(value: object) -> bool:
    """Whether `outgoing` would give this very value back; no for what only it can decide."""
    if isinstance(value, str):
        return value.isascii() and type(value) is str
    return type(value) in PLAIN or (type(value) is int and INTEGER_MIN <= value <= INTEGER_MAX)


def _check_scalar(value: object) -> None:
    kind = type(value)
    if kind is int:
        assert isinstance(value, int)
        if not INTEGER_MIN <= value <= INTEGER_MAX:
            raise ValueFault("an integer outside 64 bits with sign")
    elif kind is float:
        assert isinstance(value, float)
        if not isfinite(value):
            raise ValueFault(f"the number {value} is not finite")
    elif kind not in PLAIN:
        raise ValueFault(f"a {kind.__name__} is not a value of PSP/1")


def _check_containers(root: object, *, promised_max: int = 0) -> int:
    level: list[object] = [root]
    nodes = 1
    depth = promised = 0
    while level:
        depth += 1
        if depth > DEPTH_MAX:
            raise ValueFault(f"containers nested deeper than {DEPTH_MAX}", is_limit=True)
        inner: list[object] = []
        for container in level:
            items: Collection[object]
            if isinstance(container, dict):
                _check_keys(container)
                nodes += len(container)
                items = container.values()
            else:
                items = container  # type: ignore[assignment]  # CONTAINERS has nothing else.
            nodes += len(items)
            if nodes > NODES_MAX + 1:  # The root itself is not counted.
                raise ValueFault(f"more than {NODES_MAX} values in one frame", is_limit=True)
            for item in items:  # The most frequent first: an answer has thousands of them.
                kind = type(item)
                if kind in PLAIN:
                    continue
                if kind is int:
                    if not INTEGER_MIN <= item <= INTEGER_MAX:  # type: ignore[operator]
                        _check_scalar(item)
                elif kind in CONTAINERS:
                    inner.append(item)
                elif kind is Promised and promised_max:
                    promised += 1
                else:
                    _check_scalar(item)
        level = inner
    if promised > promised_max:
        raise ValueFault(f"{promised} names of answers; the limit is {promised_max}", is_limit=True)
    return nodes


def _check_keys(container: dict[object, object]) -> None:
    if len(container) > MAP_KEYS_MAX:
        raise ValueFault(
            f"a map of {len(container)} keys; the limit is {MAP_KEYS_MAX}", is_limit=True
        )
    for key in container:
        if type(key) is not str:
            raise ValueFault(f"a map key of type {type(key).__name__}; keys are text")


def compose(value: object) -> object:
    """Give an outgoing value with every text in NFC; the very same object if nothing changes.

    The sender composes and the receiver does not check: Unicode grows, and a peer with older tables
    must not end a connection over a letter it does not know.

    The value has passed `check_value`, so its depth is bounded and recursion is safe.
    """
    kind = type(value)
    if kind is list or kind is tuple:
        # Most of what they hold stays as it is, and need not be asked by another call.
        return [
            item if type(item) in _COMPOSED or (type(item) is str and item.isascii())
            else compose(item)
            for item in value  # type: ignore[attr-defined]
        ]  # fmt: skip
    if isinstance(value, str):
        return value if value.isascii() else unicodedata.normalize("NFC", value)
    if isinstance(value, dict):
        composed = {compose(key): compose(item) for key, item in value.items()}
        if len(composed) != len(value):
            raise ValueFault("two keys of one map are the same text once composed (NFC)")
        return composed
    if kind is Promised:
        assert isinstance(value, Promised)
        return Promised(compose(value.target))  # type: ignore[arg-type]  # Same shape, new text.
    return value
