"""How much one connection holds: every counter that a limit is compared with lives here."""

from __future__ import annotations

from collections import Counter

from psp.errors import CallFailed, LimitExceeded, Overloaded
from psp.wire import Limits

from ._answers import Answer, Exported, Opaque, not_kept


class GrantRooms:
    """What each grant holds over all connections of one archive: one of these for each listener."""

    def __init__(self) -> None:
        self.calls: Counter[Opaque] = Counter()
        self.exports: Counter[Opaque] = Counter()


class Room:
    """Counts what a subject holds for one connection, and says what does not fit.

    Charged when a frame arrives, given back when its handler has really ended: a cancelled call
    that still runs keeps its slot, or opening and cancelling in a loop would cost a peer nothing.

    Attributes:
        calls: Calls in flight.
        streams: Answers that are being streamed.
    """

    def __init__(self, limits: Limits, grants: GrantRooms) -> None:
        self._limits = limits
        self._grants = grants
        self.calls = 0
        self.streams = 0
        self._call_bytes = 0
        # Answers kept now or later: the slot is taken on arrival, so that settling always fits.
        self._retained = 0
        self._retained_bytes = 0
        self._exports: Counter[Opaque] = Counter()
        self._exports_held = 0

    def refusal(self, answer: Answer, body_bytes: int) -> CallFailed | None:
        """Say why a new call cannot be taken, or None."""
        limits = self._limits
        if self.calls >= limits.calls_in_flight:
            return Overloaded(f"{limits.calls_in_flight} calls are in flight; await some first")
        if self._call_bytes + body_bytes > limits.call_bytes_in_flight:
            return self._no_bytes()
        if answer.is_retained and self._retained >= limits.answers_retained:
            return Overloaded(
                f"{limits.answers_retained} answers are kept; finish some or use no_pipelining"
            )
        tag = answer.grant_tag
        return None if tag is None else self._grant_refusal(tag)

    def wait_refusal(self, parent: Answer | None, path_length: int) -> CallFailed | None:
        """Say why a call cannot name this answer, or None."""
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

    def line_refusal(self, exported: Exported) -> CallFailed | None:
        """Say why a call cannot wait in line for an object, or None."""
        if exported.line and len(exported.line) >= self._limits.queued_per_answer:
            return Overloaded(f"{len(exported.line)} calls wait for one reference; await one")
        return None

    def admit(self, answer: Answer) -> None:
        """Charge a call that was taken."""
        self.calls += 1
        self._call_bytes += answer.body_bytes
        self._retained += answer.is_retained

    def enter_grant(self, answer: Answer) -> CallFailed | None:
        """Charge its grant with a call that starts, or say why it cannot."""
        failure = self._grant_refusal(answer.grant_tag)
        if failure is None:
            self.charge_grant(answer)
        return failure

    def charge_grant(self, answer: Answer) -> None:
        """Charge its grant with a call that has started."""
        if answer.grant_tag is not None:
            self._grants.calls[answer.grant_tag] += 1
            answer.is_in_grant = True

    def lend(self, call: Answer, argument_bytes: int) -> CallFailed | None:
        """Charge a call with an argument that has come to it, or say why it cannot.

        A call that has not been admitted yet is charged with all its bytes when it is.
        """
        held = self._call_bytes if call.is_admitted else self._call_bytes + call.body_bytes
        if held + argument_bytes > self._limits.call_bytes_in_flight:
            return self._no_bytes()
        call.body_bytes += argument_bytes
        if call.is_admitted:
            self._call_bytes += argument_bytes
        return None

    def leave(self, answer: Answer) -> None:
        """The call is settled or withdrawn: its slot is free."""
        self.calls -= 1
        self._call_bytes -= answer.body_bytes
        self.leave_grant(answer)

    def has_slot(self) -> bool:
        """Whether one more answer can be kept."""
        return self._retained < self._limits.answers_retained

    def keep(self) -> None:
        """Take the slot of an answer that was never in flight."""
        self._retained += 1

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

    def export(self, tag: Opaque) -> CallFailed | None:
        """Charge a reference that is given out, or say why it cannot be."""
        limits = self._limits
        if self._exports_held >= limits.exports or (
            tag is not None and self._grants.exports[tag] >= limits.grant_exports
        ):
            return Overloaded("too many references are held; release some and ask again")
        self._exports_held += 1
        self._exports[tag] += 1
        self._grants.exports[tag] += 1
        return None

    def release(self, tag: Opaque) -> None:
        """A reference was given back."""
        self._exports_held -= 1
        for held in (self._exports, self._grants.exports):
            _count_down(held, tag, 1)

    def end(self) -> None:
        """The connection has ended. Calls of a grant that still run keep its slots till they end:
        or cutting the connection would be a way to start more."""
        for tag, count in self._exports.items():
            _count_down(self._grants.exports, tag, count)
        self._exports.clear()
        self.calls = self.streams = self._exports_held = 0
        self._call_bytes = self._retained = self._retained_bytes = 0

    def leave_grant(self, answer: Answer) -> None:
        """Give the grant's slot back, once."""
        if answer.is_in_grant:
            answer.is_in_grant = False
            _count_down(self._grants.calls, answer.grant_tag, 1)

    def _grant_refusal(self, tag: Opaque) -> CallFailed | None:
        if tag is not None and self._grants.calls.get(tag, 0) >= self._limits.grant_calls:
            return Overloaded(f"{self._limits.grant_calls} calls of this grant are in flight")
        return None

    def _no_bytes(self) -> Overloaded:
        return Overloaded(
            f"calls in flight hold {self._call_bytes} bytes; the limit is"
            f" {self._limits.call_bytes_in_flight}; await some first"
        )


def _count_down(held: Counter[Opaque], tag: Opaque, count: int) -> None:
    """A grant that holds nothing is forgotten: a peer can present tokens without end."""
    held[tag] -= count
    if held[tag] <= 0:
        del held[tag]
