"""Arguments on their way out: promises and references become the names that the subject knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from psp.rpc import Argument as Lowered
from psp.wire import Promised, is_sendable_scalar

from ._promise import Argument, Promise, Reference


def lower(arguments: tuple[Argument, ...]) -> tuple[Lowered, ...]:
    """Replace every promise and reference, at any depth, by its name on the wire.

    Raises:
        LocalProtocolError: A reference among them was released.
    """
    if all(map(is_sendable_scalar, arguments)):
        return cast(tuple[Lowered, ...], arguments)
    return tuple(map(_lower, arguments))


def _lower(argument: Any) -> Any:
    if isinstance(argument, Promise):
        question, path = argument.named
        return Promised([question, list(path)])
    if isinstance(argument, Reference):
        return Promised(argument.target)
    if isinstance(argument, Mapping):
        return {key: _lower(item) for key, item in argument.items()}
    if isinstance(argument, list | tuple):
        return [_lower(item) for item in argument]
    return argument
