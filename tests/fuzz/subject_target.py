"""Any controller bytes whatsoever: no exception, tables within their limits, only lawful frames.

python -m tests.fuzz.subject_target -max_total_time=60 tests/fuzz/corpus/subject
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from psp.errors import Denied
from psp.rpc import Aborted, CallReady, Cancelled, PresentReceived, Subject, SubjectEvent
from psp.testing import ScriptedPeer
from psp.wire import (
    CHUNK,
    END,
    GOAWAY,
    INITIAL_LIMITS,
    PONG,
    RETURN,
    SUBJECT_ABORT,
    SUBJECT_HELLO,
    Role,
)

from .mutation import ARCHIVE_TIME, SETTINGS_BYTES

SENDER: Final = Role.CONTROLLER
SMALL: Final = INITIAL_LIMITS._replace(
    calls_in_flight=8, queued_per_answer=3, answers_retained=6, exports=5, retained_bytes=200
)
STREAM_BYTES: Final = 3000
LAWFUL: Final = {SUBJECT_HELLO, RETURN, CHUNK, END, GOAWAY, SUBJECT_ABORT, PONG}
LARGE: Final = "x" * 300_000

Running = CallReady | PresentReceived


class Answerer:
    """A subject and handlers that do what the method's name says, now or when they must."""

    def __init__(self) -> None:
        self.subject = Subject(bytes(32), bootstrap="bootstrap", limits=SMALL)
        self.subject.hello(ARCHIVE_TIME)
        self.peer = ScriptedPeer(Role.CONTROLLER)
        self.running: list[Running] = []
        self.started: set[int] = set()
        self.returned: Counter[int] = Counter()
        self.is_over = False

    def hear(self, events: Iterable[SubjectEvent]) -> None:
        for event in events:
            assert not self.is_over, "an abort is the last event"
            match event:
                case Aborted():
                    self.is_over = True
                case Cancelled(call):
                    # It may have been settled since: both stood in one list of events.
                    assert call.answer_id in self.started, "cancelled what never started"
                case _:
                    assert isinstance(event, CallReady | PresentReceived)
                    assert event.answer_id not in self.started, "one question started twice"
                    self.started.add(event.answer_id)
                    self.start(event)

    def start(self, call: Running) -> None:
        name = call.method if isinstance(call, CallReady) else _method_of(call.token)
        if name == "later":
            self.running.append(call)
        else:
            self.settle(call, name)

    def settle(self, call: Running, name: str) -> None:
        subject = self.subject
        tag = call.grant_tag if isinstance(call, CallReady) else call.token
        match name:
            case "object":
                ready = subject.resolve_object(call, f"object {call.answer_id}", tag)
            case "stream" if isinstance(call, CallReady):
                ready = subject.open_stream(call, {"columns": ["a"]})
                if not call.is_settled:  # By too many streams.
                    subject.offer(call, b"x" * STREAM_BYTES)
                    self.running.append(call)
            case "large":
                ready = subject.resolve_value(call, LARGE)
            case "value" | "later" | "stream":
                ready = subject.resolve_value(call, {"a": [1, 2], "list": ["x"]})
            case _:
                ready = subject.fail(call, Denied())
        self.hear(ready)

    def end(self, call: Running) -> None:
        """Let a handler that runs come to its end, as cancelled ones do too."""
        self.running.remove(call)
        if call.unsent:
            self.hear(self.subject.fail(call, Denied()))  # Cut short: its reader is slow.
        elif isinstance(call, CallReady) and call.method == "stream":
            self.hear(self.subject.end_stream(call))
        else:
            self.settle(call, "value")

    def check_what_leaves(self) -> None:
        start = len(self.peer.heard)
        self.peer.hear(self.subject.data_to_send())
        for frame in self.peer.heard[start:]:
            assert frame[0] in LAWFUL, frame
            if frame[0] == RETURN:
                self.returned[frame[1]] += 1  # type: ignore[index]

    def check_tables(self) -> None:
        subject = self.subject
        assert subject.calls_in_flight <= SMALL.calls_in_flight
        assert subject.kept_answers <= SMALL.answers_retained
        assert subject.exports <= SMALL.exports
        assert subject.open_streams <= subject.calls_in_flight


def _method_of(token: bytes) -> str:
    return {b"good": "object", b"later": "later"}.get(token, "fail")


def check(data: bytes) -> None:
    """Feed bytes to a subject whose handlers answer, and hold it to the laws."""
    settings, cut = data[:SETTINGS_BYTES].ljust(SETTINGS_BYTES, b"\0")
    answerer = Answerer()
    subject = answerer.subject
    stream = data[SETTINGS_BYTES:]
    size = cut or len(stream) or 1
    for turn, start in enumerate(range(0, len(stream), size)):
        answerer.hear(subject.receive(stream[start : start + size], now_ms=turn))
        answerer.check_tables()
        if settings & 1:
            answerer.check_what_leaves()
        if answerer.running and turn % 2 and settings & 2:
            answerer.end(answerer.running[0])
    if settings & 4:
        subject.go_away()
    if settings & 8:
        answerer.hear(subject.receive_eof())
    while answerer.running:
        answerer.end(answerer.running[0])
    answerer.check_what_leaves()
    assert set(answerer.returned.values()) <= {1}, "a question was answered twice"
    answerer.hear(subject.receive_eof())
    assert subject.calls_in_flight == subject.kept_answers == 0
    assert subject.exports == subject.open_streams == 0
