"""Typed stubs: a peer's object as a Python class, whose methods are calls that leave at once.

    class Contract(Stub):
        @remote
        def original(self) -> Original: ...                  # a stub: call on it before it is there
        @remote
        def total(self, year: int) -> Result[Decimal]: ...   # a plain answer, to be awaited
        @remote
        def terms(self) -> Promise[dict[str, Value]]: ...    # kept: step into it, pass it on

The table of calls is made when the class is defined, and a wrong annotation is a TypeError there.
What a call costs over `reference.call("total", 2026)` is one Python function.
"""

from __future__ import annotations

import inspect
import types
import typing

# Type checkers know an abstract method by this one function, under whatever name: it is what lets
# a body be `...` under `mypy --strict`, and what stops `Contract()` without an object behind it.
from abc import abstractmethod as remote
from collections.abc import Callable, Generator, Hashable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Final, Protocol, Self

from psp.errors import LocalProtocolError

from ._incoming import ByteStream
from ._promise import Promise, Reference, Result

__all__ = ["RemoteCall", "Stub", "remote"]

_SCALARS: Final = frozenset(
    {int, float, bool, str, bytes, Decimal, date, datetime, types.NoneType, object}
)
_LISTS: Final = (list, Sequence)
_MAPS: Final = (dict, Mapping)

# `Value` is an alias in quotes; whoever uses it need not import the names within.
_VALUE_NAMES: Final[Mapping[str, object]] = {
    each.__name__: each for each in (Decimal, date, datetime, Sequence, Mapping)
}


class Target(Protocol):
    """What a stub calls on: a reference or a promise, of whichever door."""

    @property
    def call(self) -> Callable[..., Any]: ...

    def release(self) -> None: ...


class Stub:
    """A local object that forwards calls to an object of the peer.

    Made by a method of another stub, or by `Contract.of(connection.present(token))`. Awaiting it
    waits until the object is there; leaving an `async with` block gives the object back.
    """

    __slots__ = ("_target",)

    psp_calls: ClassVar[Mapping[str, RemoteCall]] = types.MappingProxyType({})

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = {
            name: RemoteCall(cls, name, function)
            for name, function in list(vars(cls).items())
            if inspect.isfunction(function) and _is_remote(cls, name, function)
        }
        cls.psp_calls = types.MappingProxyType({**cls.psp_calls, **own})
        for name, call in own.items():
            setattr(cls, name, _forward(call) if call.is_resolved() else _resolve_first(cls, call))

    def __init__(self, target: Target) -> None:
        self._target = target

    @classmethod
    def of(cls, target: Target | Stub) -> Self:
        """Take a reference or a promise for such an object; only the peer knows whether it is."""
        return cls(target._target if isinstance(target, Stub) else target)

    def __await__(self) -> Generator[Any, Any, Self]:
        if isinstance(self._target, Promise):
            self._hold(self._target, (yield from self._target.__await__()))
        return self

    def result(self, timeout_s: float | None = None) -> Self:
        """Wait until the object is there, in a blocking program; elsewhere, `await` the stub.

        Raises:
            DeadlineExceeded: It was not there in time, and was given up.
        """
        if isinstance(self._target, Promise):
            wait = getattr(self._target, "result", None)
            if wait is None:
                raise LocalProtocolError(
                    f"{type(self).__name__}.result waits, and this stub is not of a blocking"
                    " connection. Use `await` here, or connect with `psp.blocking.connect`."
                )
            self._hold(self._target, wait(timeout_s))
        return self

    def release(self) -> None:
        """Give the object back; the peer may then forget it."""
        self._target.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _hold(self, promise: Promise[Any], answer: object) -> None:
        if not isinstance(answer, Reference):
            raise LocalProtocolError(
                f"{type(self).__name__} stands for an object, and the peer answered with a plain"
                " value. Compare the contract with what is served: they are of two versions."
            )
        # Unless another task has: a reference is shared by all who awaited the same promise.
        if self._target is promise:
            self._target = answer


class RemoteCall:
    """One line of a stub's table: how Python's arguments become the wire's, and what comes back.

    Attributes:
        parameters: Their names, in the order of the wire.
        defaults: By name, of those that have one. `...` leaves the choice to the peer.
        sent_always: How many arguments the shortest call has.
    """

    __slots__ = ("_function", "_owner", "defaults", "hints", "name", "parameters", "sent_always")

    def __init__(self, owner: type[Stub], name: str, function: Callable[..., Any]) -> None:
        self._owner = owner
        self._function = function
        self.name = name
        parameters = list(inspect.signature(function).parameters.values())[1:]
        for each in parameters:
            if each.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
                raise TypeError(f"{function.__qualname__}: {each.name} cannot go over the wire")
            if each.annotation is inspect.Parameter.empty:
                raise TypeError(f"{function.__qualname__}: {each.name} needs a type")
        self.parameters = tuple(each.name for each in parameters)
        self.defaults = {
            each.name: each.default
            for each in parameters
            if each.default is not inspect.Parameter.empty
        }
        self.sent_always = sum(self.defaults.get(name) is not ... for name in self.parameters)
        # None until every name in them is defined; stubs may name each other.
        self.hints: Mapping[str, Any] | None = None

    def is_resolved(self) -> bool:
        """Whether every name in the annotations is defined by now.

        Raises:
            TypeError: They are, and one is of no type that travels.
        """
        if self.hints is None:
            known, own = known_names(self._function), {self._owner.__name__: self._owner}
            try:
                hints = typing.get_type_hints(
                    self._function, globalns=known, localns={**own, "Value": object}
                )
            except NameError:
                return False
            self._check(hints)
            self.hints = hints
        return True

    def resolve(self) -> RemoteCall:
        """Give itself with its hints.

        Raises:
            TypeError: A name in the annotations is not defined.
        """
        if not self.is_resolved():
            raise TypeError(
                f"{self._function.__qualname__} names a type that is not defined in"
                f" {self._function.__module__}. Import it there, outside of `if TYPE_CHECKING`."
            )
        return self

    def arrange(self, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> tuple[Any, ...]:
        """Put named arguments and defaults in their places.

        Raises:
            TypeError: Too many, too few, unknown or twice.
        """
        given = dict(zip(self.parameters, arguments, strict=False))
        wrong = [name for name in named if name in given or name not in self.parameters]
        given = {**self.defaults, **given, **named}
        missing = [name for name in self.parameters if name not in given]
        placed = [given.get(name) for name in self.parameters]
        while placed and placed[-1] is ...:
            placed.pop()
        if wrong or missing or len(arguments) > len(self.parameters) or ... in placed:
            raise TypeError(
                f"{self._owner.__name__}.{self.name} takes ({', '.join(self.parameters)}), and the"
                f" call has {len(arguments)} and ({', '.join(named)}). Give each of them once."
            )
        return tuple(placed)

    def _check(self, hints: Mapping[str, Any]) -> None:
        where = self._function.__qualname__
        for name in self.parameters:
            for hint in alternatives(hints[name]):
                if not (is_object(hint) or _travels(hint)):
                    raise TypeError(
                        f"{where}: {name} is of {_words(hint)}, which does not travel. Give it a"
                        ' type of docs/protocol.md, "Values", a Promise of one, or a Stub.'
                    )
        returned = hints.get("return")
        origin, inner = typing.get_origin(returned), typing.get_args(returned)
        if _is_stub(returned):
            return
        if not (isinstance(origin, type) and issubclass(origin, (Result, Promise))):
            raise TypeError(
                f"{where} returns {_words(returned)}, and an answer is not there at once. Return a"
                f" Stub, Result[{_words(returned)}], or Promise[{_words(returned)}] to keep it."
            )
        if not (_travels(inner[0]) or _is_answer(inner[0])):
            raise TypeError(f"{where}: no answer is a {_words(inner[0])}; see docs/api.md")


def known_names(function: Callable[..., Any]) -> dict[str, Any]:
    """Give the names that a function's annotations may use."""
    return {**_VALUE_NAMES, **getattr(function, "__globals__", {})}


def alternatives(hint: Any) -> Iterator[Any]:
    """Give each type of a union, or the one type that there is."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        for part in typing.get_args(hint):
            yield from alternatives(part)
    else:
        yield hint


def _is_remote(cls: type[Stub], name: str, function: Callable[..., Any]) -> bool:
    if not getattr(function, "__isabstractmethod__", False):
        if name.startswith("_"):
            return False
        raise TypeError(
            f"{cls.__name__}.{name} is not marked. Put @remote above a call, and an underscore"
            " before the name of a helper."
        )
    if name.startswith("_") or name in vars(Stub):
        raise TypeError(
            f"{cls.__name__}.{name} is a name of Python's or of psp's own. Choose another"
        )
    return True


def _forward(call: RemoteCall) -> Callable[..., Any]:
    """Make the function that stands in the class instead of `...`; it alone runs at a call."""
    assert call.hints is not None
    name, most = call.name, len(call.parameters)
    returned = call.hints["return"]
    wrap = returned if _is_stub(returned) else None
    is_last = wrap is None and issubclass(typing.get_origin(returned) or object, Result)
    takes_objects = any(
        is_object(hint) for each in call.parameters for hint in alternatives(call.hints[each])
    )

    def forward(self: Stub, *arguments: Any, **named: Any) -> Any:
        if named or len(arguments) != most:
            arguments = call.arrange(arguments, named)
        if takes_objects:
            arguments = tuple(
                each._target if isinstance(each, Stub) else each for each in arguments
            )
        answer = self._target.call(name, *arguments, is_last=is_last)
        return answer if wrap is None else wrap(answer)

    return _dressed(forward, call)


def _resolve_first(cls: type[Stub], call: RemoteCall) -> Callable[..., Any]:
    """Stand in until the first call: a stub may name one that is defined below it."""

    def resolve(self: Stub, *arguments: Any, **named: Any) -> Any:
        forward = _forward(call.resolve())
        setattr(cls, call.name, forward)
        return forward(self, *arguments, **named)

    return _dressed(resolve, call)


def _dressed(function: Callable[..., Any], call: RemoteCall) -> Callable[..., Any]:
    original = call._function
    function.__name__, function.__qualname__ = call.name, original.__qualname__
    function.__doc__, function.__module__ = original.__doc__, original.__module__
    function.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return function


def _is_stub(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Stub)


def is_object(hint: Any) -> bool:
    """Whether what is given may be an answer or an object of the peer's rather than a value."""
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and issubclass(origin, (Stub, Promise, Reference))


def _is_answer(hint: Any) -> bool:
    return typing.is_typeddict(hint) or (
        isinstance(hint, type) and issubclass(hint, (ByteStream, Reference))
    )


def _travels(hint: Any) -> bool:
    if isinstance(hint, Hashable) and hint in _SCALARS:
        return True
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return all(map(_travels, inner))
    if origin in _LISTS or hint in _LISTS:
        return all(map(_travels, inner))
    if origin in _MAPS or hint in _MAPS:
        return not inner or (inner[0] is str and _travels(inner[1]))
    return origin is typing.Literal or hint is None


def _words(hint: Any) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
