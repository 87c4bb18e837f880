"""What is told of each call to whoever counts, times or traces calls: everything but its contents.

A middleware is a function that is told of a call and gives a context manager. It is entered before
the call (on the controller when the call is sent, on the subject before its handler runs) and left
with the outcome: without an exception when there is an answer, with it when the call failed.

Enter and exit of one call may happen in two tasks, and calls overlap: a middleware keeps what it
knows of a call in the context manager that it gave for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Literal, NamedTuple, TypeAlias

from psp.errors import LocalProtocolError
from psp.rpc import Opaque

_SHOWN_TAG_BYTES: Final = 6
"""Enough to tell grants apart in a log; too few to be of use to anybody else."""


class CallSeen(NamedTuple):
    """One call as its middleware sees it: who and which, never with what.

    Attributes:
        role: Which end of the connection this is.
        method: On the subject, as the peer wrote it: any text of 1 to 255 bytes.
        question: The number that both ends know the call by on this connection.
        peer: What this machine calls the other one: the address's name, or the pairing's.
        grant: The first digits of the grant's tag; empty for a call by the pairing alone, and on a
            controller that does not know it.
    """

    role: Literal["controller", "subject"]
    method: str
    question: int
    peer: str
    grant: str = ""


Middleware: TypeAlias = Callable[[CallSeen], AbstractContextManager[object]]


def shown_tag(tag: Opaque) -> str:
    """Give the short form of a grant's tag; empty where there is no grant."""
    return tag[:_SHOWN_TAG_BYTES].hex() if isinstance(tag, bytes) else ""


def compose(middleware: Sequence[Middleware]) -> Middleware | None:
    """Make one middleware of many, the first outermost. None of none: then a call costs nothing."""
    if not middleware:
        return None
    if len(middleware) == 1:
        return middleware[0]
    *outer, inner = middleware
    composed = inner
    for each in reversed(outer):
        composed = _around(each, composed)
    return composed


def left(around: AbstractContextManager[object], outcome: object) -> object:
    """Tell the middleware how a call went; give what its caller is told. A middleware watches, so
    it can only fail: then its caller hears of it, and the connection goes on."""
    try:
        if isinstance(outcome, BaseException):
            around.__exit__(type(outcome), outcome, outcome.__traceback__)
        else:
            around.__exit__(None, None, None)
    except Exception as exc:
        failure = LocalProtocolError(
            f"the call has ended, and a middleware of this program then raised a"
            f" {type(exc).__name__}. Mend the middleware; its error is this one's cause."
        )
        failure.__cause__ = exc
        return failure
    return outcome


def _around(outer: Middleware, inner: Middleware) -> Middleware:
    return lambda seen: _Both(outer, inner, seen)


class _Both:
    """Two context managers as one. Half the cost of an ExitStack, which allows any number."""

    __slots__ = ("_inner", "_inner_of", "_outer", "_seen")

    def __init__(self, outer: Middleware, inner: Middleware, seen: CallSeen) -> None:
        self._outer = outer(seen)
        # The inner one is made within the outer one, as nested `with` statements would.
        self._inner_of = inner
        self._seen = seen
        self._inner: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        self._outer.__enter__()
        try:
            self._inner = self._inner_of(self._seen)
            self._inner.__enter__()
        except BaseException as exc:
            self._outer.__exit__(type(exc), exc, exc.__traceback__)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # What they return is not asked: a middleware watches an outcome and cannot change it.
        assert self._inner is not None
        try:
            self._inner.__exit__(kind, error, traceback)
        except BaseException as exc:
            self._outer.__exit__(type(exc), exc, exc.__traceback__)
            raise
        self._outer.__exit__(kind, error, traceback)
