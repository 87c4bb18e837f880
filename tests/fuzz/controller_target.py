"""Any subject bytes whatsoever never make the controller run anything.

python -m tests.fuzz.controller_target -max_total_time=60 tests/fuzz/corpus/controller
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from psp.rpc import (
    BOOTSTRAP,
    REFERENCE,
    STREAM,
    Aborted,
    ChunkReceived,
    Controller,
    ControllerEvent,
    ExportId,
    GoingAway,
    HelloReceived,
    Ponged,
    QuestionId,
    Returned,
    StreamEnded,
)
from psp.testing import ScriptedPeer, frame_bytes
from psp.wire import CONTROLLER_ABORT, CREDIT, FINISH, RELEASE, Promised, Role

from .mutation import ARCHIVE_TIME, SETTINGS_BYTES

GREETING: Final = frame_bytes([16, 1, {}, [], bytes(32), ARCHIVE_TIME])
SENDER: Final = Role.SUBJECT
ACCEPT_BYTES: Final = 4096
EVENTS: Final = (
    *(HelloReceived, Returned, ChunkReceived, StreamEnded, Ponged, GoingAway, Aborted),
)


class Asker:
    """A controller with a question of every kind open, and the shell's reactions to what comes."""

    def __init__(self, settings: int) -> None:
        self.controller = Controller()
        self.peer = ScriptedPeer(Role.SUBJECT)
        self.reacts = bool(settings & 1)
        self.ended: Counter[QuestionId] = Counter()
        self.streams: set[QuestionId] = set()
        self.credit: Counter[QuestionId] = Counter()
        self.held: set[ExportId] = set()
        self.is_over = False
        self.asked = self._ask()
        if settings & 2:
            self.hear(GREETING)
        self.finished = {self.asked[3], self.asked[5]}
        for question in self.finished:
            self.controller.finish(question)
        self.controller.ping()
        self.controller.data_to_send()

    def _ask(self) -> list[QuestionId]:
        call = self.controller.call
        granted = self.controller.present(b"token")
        plain = call(BOOTSTRAP, "m", [], remaining_ms=9, accept_bytes=ACCEPT_BYTES)
        asked = [
            *(granted, plain),
            call((granted, ()), "m", [1], remaining_ms=9, accept_bytes=ACCEPT_BYTES),
            call((plain, ("a", 0)), "m", [], remaining_ms=9, accept_bytes=ACCEPT_BYTES),
            call(BOOTSTRAP, "m", [], remaining_ms=9, accept_bytes=ACCEPT_BYTES, no_pipelining=True),
            call(BOOTSTRAP, "m", [], remaining_ms=9, accept_bytes=ACCEPT_BYTES, no_pipelining=True),
            call(BOOTSTRAP, "m", [], remaining_ms=9, accept_bytes=ACCEPT_BYTES, no_result=True),
            call(
                BOOTSTRAP,
                "m",
                [Promised([granted, []])],
                remaining_ms=9,
                accept_bytes=ACCEPT_BYTES,
            ),
        ]
        self.credit.update(dict.fromkeys(asked, ACCEPT_BYTES))
        return asked

    def hear(self, data: bytes) -> None:
        for event in self.controller.receive(data):
            self.note(event)

    def note(self, event: ControllerEvent) -> None:
        assert type(event) in EVENTS, event
        assert not self.is_over, "an abort is the last event"
        match event:
            case Returned(question, status, payload):
                assert question not in self.streams, "a stream ends with StreamEnded"
                if status == STREAM:
                    self.streams.add(question)
                else:
                    self.ended[question] += 1
                if status == REFERENCE:
                    assert isinstance(payload, int)
                    self.held.add(ExportId(payload))
            case ChunkReceived(question, data):
                assert question in self.streams
                self.credit[question] -= len(data)
                assert self.credit[question] >= 0, "more than there was credit for"
                if self.reacts:
                    self.controller.credit(question, len(data))
                    self.credit[question] += len(data)
            case StreamEnded(question):
                self.streams.remove(question)
                self.ended[question] += 1
            case Aborted():
                self.is_over = True
        if self.reacts and not self.is_over and len(self.held) > 2:
            self.controller.release(self.held.pop())

    def check_what_leaves(self) -> None:
        """Bookkeeping about what it had asked itself, and nothing else."""
        start = len(self.peer.heard)
        self.peer.hear(self.controller.data_to_send())
        for index, frame in enumerate(self.peer.heard[start:], start + 1):
            if frame[0] in (FINISH,):
                assert set(frame[1]) <= set(self.asked)  # type: ignore[arg-type]
            elif frame[0] == CREDIT:
                assert frame[1] in self.asked
            elif frame[0] == CONTROLLER_ABORT:
                assert index == len(self.peer.heard), "an abort is the last word"
            else:
                assert frame[0] == RELEASE, f"a subject's bytes made a controller say {frame}"


def check(data: bytes) -> None:
    """Feed bytes to a controller that has asked, and hold it to the laws."""
    settings, cut = data[:SETTINGS_BYTES].ljust(SETTINGS_BYTES, b"\0")
    asker = Asker(settings)
    stream = data[SETTINGS_BYTES:]
    size = cut or len(stream) or 1
    for start in range(0, len(stream), size):
        asker.hear(stream[start : start + size])
        asker.check_what_leaves()
    controller = asker.controller
    assert controller.held_references <= len(asker.asked)
    if not asker.is_over:
        for event in controller.receive_eof():
            asker.note(event)
    asker.check_what_leaves()
    wanted = set(asker.asked) - asker.finished
    assert asker.ended == dict.fromkeys(wanted, 1), "each question ends exactly once"
    assert not asker.streams
    assert controller.open_questions == controller.kept_answers == controller.held_references == 0
    assert list(controller.receive(GREETING)) == []
