"""What a caller holds: promises of answers, and references to what is exposed on the other side.

A promise is a target before it is a result: calls on it leave at once, and a chain of them costs
one round trip. Whoever drops one gives it up; the call itself still runs. To stop a call, cancel
the task that awaits it, or leave the promise's `async with` block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

from trio.lowlevel import (
    Abort,
    Task,
    checkpoint_if_cancelled,
    current_task,
    wait_task_rescheduled,
)

from psp.errors import LocalProtocolError, PSPError
from psp.rpc import ExportId, Path, QuestionId, Target
from psp.values import Value
from psp.wire import ACCEPT_BYTES_DEFAULT

from ._asking import Asking
from ._failures import fresh
from ._incoming import ByteStream, Landing

T_co = TypeVar("T_co", covariant=True)

Answered: TypeAlias = "Value | Reference | ByteStream"
"""What awaiting a call can give."""

Argument: TypeAlias = (
    "Value | Promise[Any] | Reference | Sequence[Argument] | Mapping[str, Argument]"
)
"""What may be passed: values, and in them promises and references, which the subject fills in."""


class Result(Generic[T_co]):
    """A plain answer that may not be there yet: await it. Nothing else can be done with it, so the
    subject forgets it as soon as it is sent."""

    __slots__ = ("_asking", "expires", "is_done", "payload", "question", "waiters")

    # For the connection, which fills it in:
    payload: Any
    """Set once `is_done`: the value, `Reference` or `ByteStream`, or the error."""
    waiters: tuple[Task, ...]
    """Tasks that wait: one, nearly always."""
    expires: float
    """When the controller stops waiting, in trio's time."""

    def __init__(self, asking: Asking, question: QuestionId, expires: float) -> None:
        self._asking = asking
        self.question = question
        self.expires = expires
        self.is_done = False
        self.waiters = ()
        self.payload = None

    def __await__(self) -> Generator[Any, Any, T_co]:
        if self.is_done:
            # Not a full checkpoint: 2.3 µs for each of 20,000 promises that came together. To ask
            # first whether it would do anything saves another 0.3.
            if current_task()._cancel_status.effectively_cancelled:
                yield from checkpoint_if_cancelled().__await__()  # noqa: ASYNC105
        else:
            self._asking.send_before_wait()
            task = current_task()
            if self.waiters:
                self.waiters = (*self.waiters, task)
                yield from wait_task_rescheduled(partial(self._leave, task)).__await__()  # noqa: ASYNC105
            else:
                # Nearly always: and a bound method costs less than a closure.
                self.waiters = (task,)
                yield from wait_task_rescheduled(self._leave_first).__await__()  # noqa: ASYNC105
        if isinstance(self.payload, PSPError):
            raise fresh(self.payload)
        answer: T_co = self.payload
        return answer

    def _leave_first(self, _raise_cancel: object) -> Abort:
        # Whoever came when nobody waited stays the first of them until he leaves.
        return self._leave(self.waiters[0], _raise_cancel)

    def _leave(self, task: Task, _raise_cancel: object) -> Abort:
        """A task that waits is cancelled. With the last of them the question is given up."""
        self.waiters = tuple(each for each in self.waiters if each is not task)
        if not self.waiters:
            self._asking.give_up(self)
        return Abort.SUCCEEDED

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the answer as a stream."""
        async with expect_stream(await self) as stream:
            async for chunk in stream:
                yield chunk

    def land(self, target: Landing) -> None:
        """Let the answer go there, if it is a stream; for `psp.endpoint.land`."""
        if isinstance(self.payload, ByteStream):
            target.open(self.payload.header)
            self._asking.land(self.question)
            self.payload.fill(target)
        elif not self.is_done:
            self._asking.land(self.question, target)

    @property
    def asking(self) -> Asking:
        """The connection that it comes from."""
        return self._asking

    async def __aenter__(self) -> Result[T_co]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the answer back: cancel the call if it runs, release a reference if it is one."""
        payload = self.payload
        if isinstance(payload, Reference | ByteStream):
            payload.release()
        if not self.is_done:
            self._asking.give_up(self)


class Kept(Result[T_co]):
    """An answer that the subject keeps; shared by all promises of it. When the last of them goes,
    so does the answer: the calls that were made on it have left before."""

    __slots__ = ("is_released",)

    def __init__(self, asking: Asking, question: QuestionId, expires: float) -> None:
        super().__init__(asking, question, expires)
        self.is_released = False

    def release(self) -> None:
        if isinstance(self.payload, Reference | ByteStream):
            self.payload.release()
        if not self.is_released:
            self.is_released = True
            self._asking.give_up(self)

    def __del__(self) -> None:
        # May run in any thread (a promise handed out by a Portal): it only leaves a note.
        if not self.is_released:
            self._asking.drop_answer(self.question)


class _Callable(ABC):
    """What a call can be made on."""

    __slots__ = ()

    @overload
    def call(
        self,
        method: str,
        *arguments: Argument,
        timeout_s: float | None = ...,
        is_last: Literal[False] = ...,
        is_step: bool = ...,
        accept_bytes: int = ...,
        invocation: bytes | None = ...,
    ) -> Promise[Any]: ...
    @overload
    def call(
        self,
        method: str,
        *arguments: Argument,
        timeout_s: float | None = ...,
        is_last: Literal[True],
        is_step: bool = ...,
        accept_bytes: int = ...,
        invocation: bytes | None = ...,
    ) -> Result[Any]: ...
    @overload
    def call(
        self,
        method: str,
        *arguments: Argument,
        timeout_s: float | None = ...,
        is_last: bool,
        is_step: bool = ...,
        accept_bytes: int = ...,
        invocation: bytes | None = ...,
    ) -> Promise[Any] | Result[Any]: ...
    def call(
        self,
        method: str,
        *arguments: Argument,
        timeout_s: float | None = None,
        is_last: bool = False,
        is_step: bool = False,
        accept_bytes: int = ACCEPT_BYTES_DEFAULT,
        invocation: bytes | None = None,
    ) -> Promise[Any] | Result[Any]:
        """Call a method on what this is or will be; leaves at once, before the answer is there.

        Args:
            arguments: Values; a promise or reference among them stands for what it will be.
            timeout_s: How long the call may take; 30 seconds, or the enclosing deadline.
            is_last: No call will name the answer: the subject need not keep it.
            is_step: The answer is only called on, by `promise["key"].call(...)`: its value is not
                sent, so it may hold objects.
            accept_bytes: The largest value that is wanted; of a stream, how much may come before it
                is read.
            invocation: The signature that an interactive grant asks for.

        Raises:
            CallFailed: This promise has failed already, so the call would.
            LocalProtocolError: It turned out to be a plain value, or the call cannot be sent.
            LimitExceeded: The arguments are larger than a frame may be.
            ConnectionLost: The connection is over.
        """
        asking, target = self._called_on()
        # fmt: off
        answer = asking.call(
            target, method, arguments, timeout_s, is_last, is_step, accept_bytes, invocation
        )
        # fmt: on
        if is_last:
            return answer
        kept: Any = answer
        return Promise(kept)

    @abstractmethod
    def _called_on(self) -> tuple[Asking, Target]:
        """Give the connection and the target of a call."""


class Promise(_Callable, Generic[T_co]):
    """An answer that may not be there yet.

    Call on it, step into it with `promise["key"]`, pass it as an argument, or await it for the
    value or `Reference`.
    """

    __slots__ = ("_kept", "_path")

    def __init__(self, kept: Kept[Any], path: Path = ()) -> None:
        self._kept = kept
        self._path = path

    def __getitem__(self, step: str | int) -> Promise[Any]:
        """Step into the value: a map's key or a list's index. Nothing is sent."""
        return Promise(self._kept, (*self._path, step))

    def __await__(self) -> Generator[Any, Any, T_co]:
        payload = yield from self._kept.__await__()
        answer: T_co = _step_into(payload, self._path) if self._path else payload
        return answer

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Read the answer as a stream."""
        return self._kept.__aiter__()

    async def __aenter__(self) -> Promise[T_co]:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the answer back: cancel the call if it runs, release a reference if it is one."""
        self._kept.release()

    @property
    def answer(self) -> Kept[Any]:
        """What this promise and its like share."""
        return self._kept

    @property
    def named(self) -> tuple[QuestionId, Path]:
        """How an argument names this."""
        return self._kept.question, self._path

    def _called_on(self) -> tuple[Asking, Target]:
        kept = self._kept
        if not kept.is_done:
            return kept._asking, (kept.question, self._path)
        payload = kept.payload
        if isinstance(payload, PSPError):
            raise fresh(payload)
        if isinstance(payload, Reference) and not self._path:
            return kept._asking, payload.target
        if payload is None or self._path:
            # A step whose value was not sent may hold objects: only the subject knows.
            return kept._asking, (kept.question, self._path)
        raise LocalProtocolError(
            "the answer is a plain value, which has no methods. Call on a reference, or read the"
            " value that `await` gives."
        )


class Reference(_Callable):
    """An object exposed by the subject, held until released.

    Leaving an `async with` block releases it; so does dropping it.
    """

    __slots__ = ("_asking", "_export", "_is_held")

    def __init__(self, asking: Asking, export: ExportId) -> None:
        self._asking = asking
        self._export = export
        self._is_held = True

    @property
    def target(self) -> ExportId:
        if not self._is_held:
            raise LocalProtocolError("this reference was released. Ask for the object again.")
        return self._export

    def release(self) -> None:
        """Give the object back; the subject may then forget it."""
        if self._is_held:
            self._is_held = False
            self._asking.release(self._export)

    async def __aenter__(self) -> Reference:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def __del__(self) -> None:
        if self._is_held:
            self._is_held = False
            self._asking.drop_reference(self._export)

    def _called_on(self) -> tuple[Asking, Target]:
        return self._asking, self._export if self._is_held else self.target


def expect_stream(answer: object) -> ByteStream:
    """Give an answer that is a stream, or say what it is."""
    if isinstance(answer, ByteStream):
        return answer
    raise LocalProtocolError(
        f"the answer is a {type(answer).__name__} and no stream. Use what `await` gives."
    )


def _step_into(found: Any, path: Path) -> Any:
    if isinstance(found, Reference | ByteStream):
        raise LocalProtocolError(
            f"{list(path)} steps into a {type(found).__name__}. Call a method on it instead."
        )
    try:
        for step in path:
            found = found[step]
    except (LookupError, TypeError):
        raise LocalProtocolError(
            f"the answer has nothing at {list(path)}; it is a {type(found).__name__} there."
        ) from None
    return found
