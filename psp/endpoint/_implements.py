"""Whether what is served is what the contract says: two method tables compared, before any call.

A stub and a service may live in two repositories. Where one program knows both, its tests do, and
this says at once what would otherwise be an `Invalid` at three in the morning.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ._promise import Promise
from ._stub import RemoteCall, Stub, alternatives, is_object, known_names

if TYPE_CHECKING:
    from ._exposed import Exposed, Method


def check_implements(service: type[Exposed], contract: type[Stub]) -> None:
    """Compare a service's methods with a contract's calls: names, parameters and their types.

    A service may do more than the contract says: more methods, wider types, further parameters
    that have a default. What it returns is not compared.

    Raises:
        TypeError: It does less; the message lists every difference.
    """
    problems = [
        problem
        for call in contract.psp_calls.values()
        for problem in _differences(call.resolve(), service.psp_methods.get(call.name))
    ]
    if problems:
        raise TypeError(
            f"{service.__name__} does not implement {contract.__name__}: {'; '.join(problems)}."
            " Change one of the two."
        )


def _differences(call: RemoteCall, method: Method | None) -> Iterator[str]:
    if method is None:
        yield f"it has no method {call.name}({', '.join(call.parameters)})"
        return
    names = tuple(parameter.name for parameter in method.parameters)
    if names[: len(call.parameters)] != call.parameters:
        taken, given = ", ".join(names), ", ".join(call.parameters)
        yield f"{call.name} takes ({taken}) and is called with ({given})"
        return
    if method.required > call.sent_always:
        left_out = ", ".join(names[call.sent_always : method.required])
        yield f"{call.name} needs {left_out}, which a caller may leave out"
    served = _hints(method.function)
    assert call.hints is not None
    for name in call.parameters:
        room = list(alternatives(served[name]))
        for hint in alternatives(call.hints[name]):
            if not _takes(room, hint):
                yield f"{call.name} takes {_words(served[name])} as {name}, not {_words(hint)}"


def _hints(function: Any) -> Mapping[str, Any]:
    # Not the return type: a service may import it for type checkers alone.
    parameters = {n: hint for n, hint in function.__annotations__.items() if n != "return"}
    probe = types.SimpleNamespace(__annotations__=parameters)
    return typing.get_type_hints(probe, globalns=known_names(function), localns={"Value": object})


def _takes(taken: Sequence[Any], given: Any) -> bool:
    """Whether a parameter of these types accepts what may be given."""
    if object in taken:
        return True
    origin, inner = typing.get_origin(given), typing.get_args(given)
    if isinstance(origin, type) and issubclass(origin, Promise):
        return all(_takes(taken, each) for each in alternatives(inner[0]))
    if is_object(given):
        return any(hasattr(each, "psp_methods") for each in taken)
    if origin is typing.Literal:
        return all(_takes_constant(taken, each) for each in inner)
    return any(_is_within(given, each) for each in taken)


def _takes_constant(taken: Sequence[Any], constant: object) -> bool:
    return type(constant) in taken or any(
        typing.get_origin(each) is typing.Literal and constant in typing.get_args(each)
        for each in taken
    )


def _is_within(given: Any, taken: Any) -> bool:
    if given == taken or (given is int and taken is float):
        return True
    for family in ((list, Sequence), (dict, Mapping)):
        if _origin(given) in family and _origin(taken) in family:
            # The last one: a list's items, and a map's values; its keys are text.
            items, room = (typing.get_args(each)[-1:] or (object,) for each in (given, taken))
            accepted = list(alternatives(room[0]))
            return all(_takes(accepted, each) for each in alternatives(items[0]))
    return False


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def _words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
