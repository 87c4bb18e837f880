"""How much one connection holds: every counter that a limit is compared with lives here."""

from __future__ import annotations

from psp.errors import CallFailed, LimitExceeded, Overloaded
from psp.wire import Limits

from ._answers import Answer, not_kept


class Room:
    """Counts what a subject holds for one connection, and says what does not fit.

    Charged when a frame arrives, given back when its handler has really ended: a cancelled call
    that still runs keeps its slot, or opening and cancelling in a loop would cost a peer nothing.

    Attributes:
        calls: Calls in flight.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.calls = 0
        self._call_bytes = 0
        # Answers kept now or later: the slot is taken on arrival, so that settling always fits.
        self._retained = 0
        self._retained_bytes = 0

    def refusal(self, answer: Answer) -> CallFailed | None:
        """Say why a new call cannot be taken, or None."""
        limits = self._limits
        if self.calls >= limits.calls_in_flight:
            return Overloaded(f"{limits.calls_in_flight} calls are in flight; await some first")
        if self._call_bytes + answer.body_bytes > limits.call_bytes_in_flight:
            return Overloaded(
                f"calls in flight hold {self._call_bytes} bytes; the limit is"
                f" {limits.call_bytes_in_flight}; await some first"
            )
        if answer.is_retained and self._retained >= limits.answers_retained:
            return Overloaded(
                f"{limits.answers_retained} answers are kept; finish some or use no_pipelining"
            )
        return None

    def queue_refusal(self, parent: Answer | None, path_length: int) -> CallFailed | None:
        """Say why a call cannot be made on this answer, or None."""
        limits = self._limits
        if path_length > limits.path_length:
            return LimitExceeded(
                f"a path of {path_length} steps; the limit is {limits.path_length}"
            )
        if parent is None:
            return not_kept()
        if parent.queue is not None and len(parent.queue) >= limits.queued_per_answer:
            return Overloaded(
                f"{limits.queued_per_answer} calls wait for answer {parent.answer_id}; await it"
            )
        return None

    def admit(self, answer: Answer) -> None:
        """Charge a call that was taken."""
        self.calls += 1
        self._call_bytes += answer.body_bytes
        self._retained += answer.is_retained

    def leave(self, answer: Answer) -> None:
        """The call is settled or withdrawn: its slot is free."""
        self.calls -= 1
        self._call_bytes -= answer.body_bytes

    def keep_refused(self) -> bool:
        """Take a slot for the failure of a call that was refused; false if there is none."""
        if self._retained >= self._limits.answers_retained:
            return False
        self._retained += 1
        return True

    def has_kept(self, answer: Answer) -> bool:
        """Charge a settled value; false if it is too large to keep beside the others."""
        if self._retained_bytes + answer.result_bytes > self._limits.retained_bytes:
            return False
        answer.kept_bytes = answer.result_bytes
        self._retained_bytes += answer.kept_bytes
        return True

    def forget(self, answer: Answer) -> None:
        """Nothing of the answer is held any more."""
        self._retained -= answer.is_retained
        self._retained_bytes -= answer.kept_bytes

    def clear(self) -> None:
        """The connection has ended."""
        self.calls = self._call_bytes = self._retained = self._retained_bytes = 0
