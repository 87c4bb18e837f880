"""Objects that can be called from the other side, and how a call is checked before it runs.

The method table is made when the class is defined. A name from the wire is looked up in that table
and nowhere else: no attribute of a Python object can be reached by naming it.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, TypeVar, overload

from psp.errors import Invalid
from psp.rpc import CallReady
from psp.values import Value

from ._implements import check_implements

if TYPE_CHECKING:
    from ._stub import Stub

Returns: TypeAlias = (
    "Value | Exposed | Stream | Mapping[str, Value | Exposed] | Coroutine[Any, Any, Returns]"
)
Check: TypeAlias = Callable[[object], bool]
_F = TypeVar("_F", bound=Callable[..., Any])

_SCALARS: Final[Mapping[object, Check]] = {
    # Exact types: True is an int to Python, and a datetime is a date; to a caller neither is.
    int: lambda value: type(value) is int,
    float: lambda value: type(value) in (float, int),
    bool: lambda value: type(value) is bool,
    str: lambda value: type(value) is str,
    bytes: lambda value: type(value) is bytes,
    Decimal: lambda value: type(value) is Decimal,
    date: lambda value: type(value) is date,
    datetime: lambda value: type(value) is datetime,
    types.NoneType: lambda value: value is None,
    None: lambda value: value is None,
    object: lambda _value: True,
}


Given: TypeAlias = "bytes | bytearray | memoryview | list[bytes | memoryview]"


@dataclass(frozen=True, slots=True)
class Stream:
    """What a method returns to be read in pieces.

    Attributes:
        header: What the reader learns before the first byte.
        chunks: The bytes, in pieces of any size, or in lists of them. Asked for the next when the
            last has left whole; what was given must not change before that.
    """

    header: Value
    chunks: AsyncIterator[Given]


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    words: str
    check: Check


@dataclass(frozen=True, slots=True)
class Method:
    """One line of a method table.

    Attributes:
        is_async: It waits, so it runs in a task of its own.
        is_stream: It is an async generator: what it yields is the answer, a stream.
        is_inline: It neither waits nor works for long: it runs in the reader, at no cost.
        gives_stream: It is such a generator, or is written to return a `Stream`.
        required: How many arguments a call must have.
    """

    name: str
    function: Callable[..., Any]
    parameters: tuple[Parameter, ...]
    required: int
    is_async: bool
    is_stream: bool
    is_inline: bool
    gives_stream: bool

    def check_arguments(self, arguments: Sequence[Value]) -> None:
        """Compare a call's arguments with the signature.

        Raises:
            Invalid: They do not fit. The message names types, never values.
        """
        parameters = self.parameters
        if not self.required <= len(arguments) <= len(parameters):
            raise Invalid(
                f"{self.name} takes {self._count_words()}, and the call has {len(arguments)}."
                f" Call it as {self.name}({', '.join(p.name for p in parameters)})"
            )
        for parameter, value in zip(parameters, arguments, strict=False):
            if not parameter.check(value):
                raise Invalid(
                    f"{self.name} needs {parameter.words} as {parameter.name}, and the call has"
                    f" {type(value).__name__}. Convert it before the call"
                )

    def _count_words(self) -> str:
        most = len(self.parameters)
        count = str(most) if most == self.required else f"{self.required} to {most}"
        return f"{count} argument{'' if count == '1' else 's'}"


@overload
def method(function: _F) -> _F: ...
@overload
def method(*, inline: bool = ...) -> Callable[[_F], _F]: ...
def method(function: _F | None = None, *, inline: bool = True) -> _F | Callable[[_F], _F]:
    """Let a method be called from the other side.

    Args:
        inline: For a plain function: run it in the reader (the default). It must then return within
            a millisecond or so; `inline=False` runs it in a worker thread, where it may block.
            Where it finds that it has to wait it may return a coroutine, which gives the value: the
            rest then runs in a task of its own, and what need not wait has cost none.
            An `async` method always runs in a task of its own. An async generator of bytes is a
            stream.
    """

    def mark(marked: _F) -> _F:
        marked.__psp_inline__ = inline  # type: ignore[attr-defined]
        return marked

    return mark if function is None else mark(function)


class Exposed:
    """Base of every object whose marked methods a peer may call.

    A method takes values, checked against its annotations before it runs, and returns a value, a
    `Stream`, or another `Exposed`, which the peer receives as a reference. (A map of several can
    only be stepped into, by a caller that does not ask for the map itself.) Where a caller names an
    answer as an argument, the method gets the value or the `Exposed` itself. It raises a
    `CallFailed` to refuse; anything else that it raises is a fault, of which the peer learns
    nothing but an id.
    """

    psp_methods: ClassVar[Mapping[str, Method]] = {}
    psp_is_checked: ClassVar[bool] = False
    """Whether `check` was overridden: asking one that allows everything is a cost for nothing."""

    def __init_subclass__(cls, *, implements: type[Stub] | None = None) -> None:
        """Make the method table.

        Args:
            implements: The stub that callers use; what is served is compared with it.

        Raises:
            TypeError: A method cannot be served as it is written, or not as the stub says.
        """
        super().__init_subclass__()
        cls.psp_is_checked = cls.check is not Exposed.check
        own = {
            name: _describe(cls, name, function)
            for name, function in vars(cls).items()
            if hasattr(function, "__psp_inline__")
        }
        # In Python's own order of several parents: that of the nearest class holds.
        inherited = {
            name: base.psp_methods[name]
            for base in reversed(cls.__mro__[1:])
            if issubclass(base, Exposed)
            for name in vars(base)
            if name in base.psp_methods
        }
        cls.psp_methods = types.MappingProxyType({**inherited, **own})
        if implements is not None:
            check_implements(cls, implements)

    def check(self, call: CallReady) -> None:
        """Refuse a call before it runs; asked at every dispatch, and before each chunk of a stream.
        Raise a `CallFailed` to refuse.

        The place for what may change while a reference is held: time, revocation. `call` has the
        `method`, the `arguments` and the `invocation`.
        """


def _describe(owner: type[Exposed], name: str, function: Callable[..., Any]) -> Method:
    hints = _hints(owner, function)
    parameters: list[Parameter] = []
    required = 0
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
            raise TypeError(f"{function.__qualname__}: {parameter.name} cannot come over the wire")
        if parameter.name not in hints:
            raise TypeError(f"{function.__qualname__}: {parameter.name} needs a type")
        required += parameter.default is inspect.Parameter.empty
        hint = hints[parameter.name]
        parameters.append(Parameter(parameter.name, _words(hint), _check_for(hint)))
    is_async = inspect.iscoroutinefunction(function)
    is_stream = inspect.isasyncgenfunction(function)
    inline = bool(function.__psp_inline__)  # type: ignore[attr-defined]
    return Method(
        name=name,
        function=function,
        parameters=tuple(parameters),
        required=required,
        is_async=is_async,
        is_stream=is_stream,
        is_inline=inline and not is_async and not is_stream,
        gives_stream=is_stream or function.__annotations__.get("return") in ("Stream", Stream),
    )


def _hints(owner: type[Exposed], function: Callable[..., Any]) -> dict[str, Any]:
    # Only the arguments: a return type may be known to type checkers alone. `Value` is any value,
    # and the decoder has let nothing else through.
    def probe() -> None: ...

    probe.__annotations__ = {
        name: hint for name, hint in function.__annotations__.items() if name != "return"
    }
    return typing.get_type_hints(
        probe,
        globalns=getattr(function, "__globals__", {}),
        # The class itself has no name yet where its methods are read.
        localns={"Value": object, owner.__name__: owner},
    )


def _check_for(hint: object) -> Check:
    """Make the check of one annotation.

    Raises:
        TypeError: The annotation is no type that travels; at class definition, not at a call.
    """
    if (scalar := _SCALARS.get(hint)) is not None:
        return scalar
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return _any_of([_check_for(part) for part in arguments])
    if origin is typing.Literal:
        return lambda value: any(type(value) is type(x) and value == x for x in arguments)
    if origin in (list, Sequence) or hint in (list, Sequence):
        return _list_of(_check_for(arguments[0] if arguments else object))
    if origin in (dict, Mapping) or hint in (dict, Mapping):
        return _map_of(_check_for(arguments[1] if arguments else object))
    if isinstance(hint, type) and issubclass(hint, Exposed):
        return lambda value: isinstance(value, hint)
    raise TypeError(f"{hint} is not a type that travels; see docs/protocol.md, Values")


def _any_of(checks: Sequence[Check]) -> Check:
    return lambda value: any(check(value) for check in checks)


def _list_of(item: Check) -> Check:
    return lambda value: type(value) is list and all(map(item, value))


def _map_of(item: Check) -> Check:
    return lambda value: type(value) is dict and all(map(item, value.values()))


def _words(hint: object) -> str:
    return hint.__name__ if isinstance(hint, type) else str(hint)
