"""The subject's calls with a middleware around each."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from types import CoroutineType
from typing import Any

from psp.errors import CallFailed
from psp.rpc import CallReady

from ._dispatch import Log, Outcome, report_fault, run_inline
from ._exposed import Method
from ._middleware import CallSeen, Middleware, shown_tag


class Watching:
    """Runs the calls of one connection inside a middleware, which may refuse them."""

    def __init__(self, around: Middleware, peer_name: str, log: Log) -> None:
        self._around = around
        self._peer_name = peer_name
        self._log = log

    def run_inline(self, call: CallReady, method: Method | None, now_ms: float) -> Outcome:
        """Run a call that does not wait. What it finds that it has to wait for is inside, too."""
        around = self._enter(call)
        if isinstance(around, CallFailed):
            return around
        result = run_inline(call, method, now_ms, self._log)
        if isinstance(result, CoroutineType):
            return self._leave_after(around, result)
        return self._leave(around, result)

    async def run_to_end(
        self, call: CallReady, run: Callable[[CallReady], Coroutine[Any, Any, Outcome]]
    ) -> Outcome:
        """Run a call in this task, to its end; that of a stream is when it was sent."""
        around = self._enter(call)
        if isinstance(around, CallFailed):
            return around
        return await self._leave_after(around, run(call))

    async def _leave_after(
        self, around: AbstractContextManager[object], work: Coroutine[Any, Any, Outcome]
    ) -> Outcome:
        try:
            result = await work
        except CallFailed as exc:
            result = exc
        except BaseException as exc:
            around.__exit__(type(exc), exc, exc.__traceback__)
            raise
        return self._leave(around, result)

    def _enter(self, call: CallReady) -> AbstractContextManager[object] | CallFailed:
        seen = CallSeen(
            "subject", call.method, call.answer_id, self._peer_name, shown_tag(call.grant_tag)
        )
        try:
            around = self._around(seen)
            around.__enter__()
        except CallFailed as exc:
            return exc
        except Exception as exc:
            return report_fault("middleware", exc, self._log)
        return around

    def _leave(self, around: AbstractContextManager[object], result: Outcome) -> Outcome:
        try:
            if isinstance(result, CallFailed):
                around.__exit__(type(result), result, result.__traceback__)
            else:
                around.__exit__(None, None, None)
        except Exception as exc:
            return report_fault("middleware", exc, self._log)
        return result
