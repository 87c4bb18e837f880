"""What a caller holds: promises of answers, and references to what is exposed on the other side.

A promise is a target before it is a result: calls on it leave at once, and a chain of them costs
one round trip. Whoever drops one gives it up; the call itself still runs. To stop a call, cancel
the task that awaits it, or leave the promise's `async with` block.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

import trio

from psp.errors import LocalProtocolError, PSPError
from psp.rpc import ExportId, Path, QuestionId, Target
from psp.values import Value

from ._failures import fresh


class Answer:
    """What is known of one question; the connection fills it in.

    Attributes:
        payload: Set once `is_done`: the value, the `Reference`, or the error.
        waiters: Tasks that wait; empty once `is_done`.
        parent: Keeps the promise that this call was made on, so that dropping it does not take
            away what this one still depends on. None once `is_done`.
        expires: When the controller stops waiting, in trio's time.
        is_dropped: Nobody can ask for it any more; finish it as soon as it is done.
    """

    __slots__ = ("expires", "is_done", "is_dropped", "parent", "payload", "question", "waiters")

    def __init__(self, question: QuestionId, expires: float, parent: Hold | None) -> None:
        self.question = question
        self.expires = expires
        self.parent = parent
        self.payload: Value | Reference | PSPError = None
        self.waiters: list[trio.lowlevel.Task] = []
        self.is_done = False
        self.is_dropped = False


class Asking(Protocol):
    """What promises need of their connection."""

    def call(
        self,
        target: Target,
        method: str,
        arguments: tuple[Value, ...],
        *,
        timeout_s: float | None,
        is_last: bool,
        is_step: bool,
        parent: Hold | None,
    ) -> Promise: ...

    async def wait_for(self, answer: Answer) -> None: ...

    def give_up(self, answer: Answer) -> None: ...

    def drop_answer(self, answer: Answer) -> None: ...

    def release(self, export: ExportId) -> None: ...

    def drop_reference(self, export: ExportId) -> None: ...


class Hold:
    """Shared by all promises of one answer; when the last of them goes, so does the answer."""

    __slots__ = ("answer", "asking")

    def __init__(self, asking: Asking, answer: Answer) -> None:
        self.asking = asking
        self.answer = answer

    def __del__(self) -> None:
        # May run in any thread (a promise handed out by a Portal): it only leaves a note.
        self.asking.drop_answer(self.answer)


class Promise:
    """An answer that may not be there yet.

    Call on it, step into it with `promise["key"]`, or await it for the value or `Reference`.
    """

    __slots__ = ("_hold", "_path")

    def __init__(self, hold: Hold, path: Path = ()) -> None:
        self._hold = hold
        self._path = path

    def __getitem__(self, step: str | int) -> Promise:
        """Step into the value: a map's key or a list's index. Nothing is sent."""
        return Promise(self._hold, (*self._path, step))

    def call(
        self,
        method: str,
        *arguments: Value,
        timeout_s: float | None = None,
        is_last: bool = False,
        is_step: bool = False,
    ) -> Promise:
        """Call a method on what this will be; leaves at once, before the answer is there.

        Args:
            timeout_s: How long the call may take; 30 seconds, or the enclosing deadline.
            is_last: No call will be made on the answer: the subject need not keep it.
            is_step: The answer is only called on, by `promise["key"].call(...)`: its value is not
                sent, so it may hold objects.

        Raises:
            CallFailed: This promise has failed already, so the call would.
            LocalProtocolError: It turned out to be a plain value, or the call cannot be sent.
        """
        answer = self._hold.answer
        target: Target = (answer.question, self._path)
        if answer.is_done:
            target = self._settled_target()
        return self._hold.asking.call(
            target,
            method,
            arguments,
            timeout_s=timeout_s,
            is_last=is_last,
            is_step=is_step,
            parent=self._hold,
        )

    def __await__(self) -> Generator[object, object, Value | Reference]:
        return self._wait().__await__()

    async def __aenter__(self) -> Promise:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Give the answer back: cancel the call if it runs, release a reference if it is one."""
        answer = self._hold.answer
        if isinstance(answer.payload, Reference):
            answer.payload.release()
        self._hold.asking.give_up(answer)

    async def _wait(self) -> Value | Reference:
        answer = self._hold.answer
        if answer.is_done:
            # Not a full checkpoint: 2.3 µs for each of 20,000 promises that came together.
            await trio.lowlevel.checkpoint_if_cancelled()
        else:
            await self._hold.asking.wait_for(answer)
        if isinstance(answer.payload, PSPError):
            raise fresh(answer.payload)
        if isinstance(answer.payload, Reference):
            if self._path:
                raise LocalProtocolError(
                    f"{list(self._path)} steps into a reference. Call a method on it instead."
                )
            return answer.payload
        return _step_into(answer.payload, self._path)

    def _settled_target(self) -> Target:
        payload = self._hold.answer.payload
        if isinstance(payload, PSPError):
            raise fresh(payload)
        if isinstance(payload, Reference) and not self._path:
            return payload.target
        raise LocalProtocolError(
            "the answer is a plain value, which has no methods. Call on a reference, or read the"
            " value that `await` gives."
        )


class Reference:
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

    def call(
        self,
        method: str,
        *arguments: Value,
        timeout_s: float | None = None,
        is_last: bool = False,
        is_step: bool = False,
    ) -> Promise:
        """Call a method; see `Promise.call`."""
        return self._asking.call(
            self.target,
            method,
            arguments,
            timeout_s=timeout_s,
            is_last=is_last,
            is_step=is_step,
            parent=None,
        )

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


def _step_into(value: Value, path: Path) -> Value:
    try:
        for step in path:
            value = value[step]  # type: ignore[index]
    except (LookupError, TypeError):
        raise LocalProtocolError(
            f"the answer has nothing at {list(path)}; it is a {type(value).__name__} there."
        ) from None
    return value
