"""A span per call for OpenTelemetry, when that library is there. Names and outcomes, never values.

The attributes are those of OpenTelemetry's semantic conventions for RPC. An error is recorded by
its type alone: the words of an exception may hold a row, and spans leave the machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from psp.errors import (
    CallFailed,
    DeadlineExceeded,
    HandlerFailed,
    MissingExtra,
    Overloaded,
    Unimplemented,
)

from ._failures import printable
from ._middleware import CallSeen, Middleware

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

_SHOWN_METHOD_CHARACTERS: Final = 64
"""A peer chooses what it calls; a store of spans keeps every name it has ever seen."""

_SUBJECT_FAULTS: Final = (HandlerFailed, DeadlineExceeded, Overloaded, Unimplemented)
"""What marks a subject's span as failed. A refusal is the archive doing its work: the conventions
keep a server's span unset when the mistake was the client's."""


def spans(tracer_provider: TracerProvider | None = None) -> Middleware:
    """Give a middleware that makes one span of each call, for `connect` or `serve`.

    A controller's span has the current span as its parent. A subject's is the root of a trace of
    its own: nothing of a caller's trace crosses the border between two owners. The spans that a
    handler makes are its children.

    Args:
        tracer_provider: The program's global one if not given.

    Raises:
        MissingExtra: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import context, trace
    except ImportError:
        raise MissingExtra("a span per call", library="opentelemetry-api", extra="spans") from None
    tracer = trace.get_tracer("psp", tracer_provider=tracer_provider)
    failed = trace.Status(trace.StatusCode.ERROR)  # Without words: see the top of this file.
    no_parent = context.Context()

    @contextmanager
    def on_controller(seen: CallSeen) -> Iterator[None]:
        span = tracer.start_span(
            _shown(seen.method), kind=trace.SpanKind.CLIENT, attributes=_attributes(seen)
        )
        # Not made current: a call ends in another task than it began in, and its caller goes on.
        try:
            yield
        except BaseException as exc:
            span.set_attribute("error.type", _error_type(exc))
            span.set_status(failed)
            raise
        finally:
            span.end()

    @contextmanager
    def on_subject(seen: CallSeen) -> Iterator[None]:
        span = tracer.start_span(
            _shown(seen.method),
            context=no_parent,
            kind=trace.SpanKind.SERVER,
            attributes=_attributes(seen),
        )
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield
        except BaseException as exc:
            span.set_attribute("error.type", _error_type(exc))
            if isinstance(exc, _SUBJECT_FAULTS) or not isinstance(exc, CallFailed):
                span.set_status(failed)
            raise
        finally:
            context.detach(token)
            span.end()

    ways = {"controller": on_controller, "subject": on_subject}
    return lambda seen: ways[seen.role](seen)


def _attributes(seen: CallSeen) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        "rpc.system": "psp",
        "rpc.method": _shown(seen.method),
        "psp.peer": seen.peer,
        "psp.question": seen.question,
    }
    if seen.grant:
        attributes["psp.grant"] = seen.grant
    return attributes


def _shown(method: str) -> str:
    return printable(method[:_SHOWN_METHOD_CHARACTERS])


def _error_type(error: BaseException) -> str:
    """Give the word of docs/protocol.md for a failed call, and a fault's class otherwise."""
    return error.word if isinstance(error, CallFailed) else type(error).__qualname__
