"""From a ready call to its result: look up, check, run, and keep our faults to ourselves."""

from __future__ import annotations

import secrets
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from enum import Enum
from types import CoroutineType
from typing import Any, Final, TypeAlias

import trio

from psp.errors import CallFailed, DeadlineExceeded, HandlerFailed, Invalid, Processed
from psp.rpc import CallReady, Exported, Opaque

from ._exposed import Exposed, Method, Returns, Stream

Log: TypeAlias = Callable[[str], None]


class Complete(Enum):
    """What a stream gives in place of a result: all of it has been sent."""

    COMPLETE = "complete"
    REFUSED = "refused"


Outcome: TypeAlias = "Returns | CallFailed | Complete | Coroutine[Any, Any, Outcome]"
"""How a call went. A coroutine gives the outcome of one that has to wait."""

_SHOWN_METHOD_CHARACTERS: Final = 40


def method_of(call: CallReady) -> Method | None:
    """Find what a call runs, if its object has it."""
    # Only objects of this class are ever given to the core; and it is the table made at class
    # definition: never getattr with a name from the wire.
    exposed: Exposed = call.object  # type: ignore[assignment]
    return exposed.psp_methods.get(call.method)


def _prepare(call: CallReady, method: Method | None, now_ms: float) -> tuple[Exposed, Method]:
    """Check that a call may run.

    Raises:
        CallFailed: Too late, no such method, refused by the object, or wrong arguments.
    """
    exposed: Exposed = call.object  # type: ignore[assignment]
    if now_ms >= call.deadline_ms:
        raise DeadlineExceeded("the time given to the call had run out before it started")
    if exposed.psp_is_checked:
        exposed.check(call)
    if method is None:
        shown = call.method[:_SHOWN_METHOD_CHARACTERS]
        raise Invalid(f"there is no method {shown!r} here. Check its name in the documentation")
    if call.arguments or method.required:
        method.check_arguments(call.arguments)
    return exposed, method


def run_inline(
    call: CallReady, found: Method | None, now_ms: float, log: Log
) -> Returns | CallFailed:
    """Run a call that does not wait. Give its result, or how it failed; nothing is raised."""
    try:
        exposed, method = _prepare(call, found, now_ms)
        result: Returns = method.function(exposed, *call.arguments)
    except CallFailed as exc:
        return exc
    except Exception as exc:
        return report_fault(call.method, exc, log)
    return result


async def run_waiting(call: CallReady, now_ms: float, log: Log) -> Returns | CallFailed:
    """Run any call in a task of its own; only `trio.Cancelled` comes out."""
    try:
        exposed, method = _prepare(call, method_of(call), now_ms)
        result: Returns
        if method.is_stream:
            result = Stream(None, method.function(exposed, *call.arguments))
        elif method.is_async:
            result = await method.function(exposed, *call.arguments)
        elif method.is_inline:
            result = method.function(exposed, *call.arguments)
            if isinstance(result, CoroutineType):
                result = await result
        else:
            # Not abandoned when cancelled: the call keeps its slot until the thread has ended, or
            # a peer could start threads without end by cancelling.
            result = await trio.to_thread.run_sync(method.function, exposed, *call.arguments)
    except CallFailed as exc:
        return exc
    except Exception as exc:
        return report_fault(call.method, exc, log)
    return result


def tagged(result: Mapping[str, object], tag: Opaque) -> Any:
    """Give the objects in a map the grant that the map came from."""
    if not any(isinstance(item, Exposed) for item in result.values()):
        return result
    return {
        key: Exported(item, tag) if isinstance(item, Exposed) else item
        for key, item in result.items()
    }


def report_fault(what: str, exc: BaseException, log: Log) -> HandlerFailed:
    """Write a fault of ours into our log, and give what the peer may know of it: an id.

    Neither arguments nor the error's own words are written: both may hold a row.
    """
    correlation_id = secrets.token_hex(8)
    log(f"call {what!r} failed, correlation id {correlation_id}:\n{''.join(_frames(exc))}".rstrip())
    return HandlerFailed(processed=Processed.MAYBE, correlation_id=correlation_id)


def _frames(exc: BaseException) -> Iterator[str]:
    cause: BaseException | None = exc
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield f"{type(cause).__module__}.{type(cause).__qualname__}\n"
        yield from traceback.format_tb(cause.__traceback__)
        if isinstance(cause, BaseExceptionGroup):
            for inner in cause.exceptions:
                yield from _frames(inner)
        cause = cause.__cause__ or cause.__context__
