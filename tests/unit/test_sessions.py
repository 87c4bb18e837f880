"""Whole sessions of tests/vectors: each of our cores plays its side of them, byte for byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from psp.conformance import Case, from_hex, from_json, load, to_json
from psp.errors import CALL_FAILURES, CallFailed, Processed
from psp.rpc import (
    Aborted,
    CallReady,
    Cancelled,
    ChunkReceived,
    Controller,
    Exported,
    ExportId,
    GoingAway,
    HelloReceived,
    Paused,
    Ponged,
    PresentReceived,
    Returned,
    StreamEnded,
    Subject,
)
from psp.values import Value
from psp.wire import STATUS_ERROR, FrameReader, Role

BOOTSTRAP = "bootstrap"
ARCHIVE_ID = bytes(range(32))
ARCHIVE_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STATUS_WORDS = ("value", "reference", "error", "stream")


def shown(event: object) -> list[Any]:
    """An event as the vectors write it."""
    match event:
        case HelloReceived():
            return ["hello"]
        case Returned(question, status, payload) if status == STATUS_ERROR:
            assert isinstance(payload, CallFailed)
            return ["returned", question, "error", payload.code, payload.processed.value]
        case Returned(question, status, payload):
            return ["returned", question, STATUS_WORDS[status], payload]
        case ChunkReceived(question, data):
            return ["chunk", question, bytes(data)]
        case StreamEnded(question, failure):
            ended = failure and [failure.code, failure.processed.value]
            return ["ended", question, ended]
        case Ponged(number):
            return ["ponged", number]
        case GoingAway(last_question):
            return ["going_away", last_question]
        case Aborted(code, _, by_peer):
            return ["aborted", code, "by the peer" if by_peer else "by us"]
        case PresentReceived():
            return ["present", event.answer_id, event.token]
        case CallReady():
            return ["ready", event.answer_id, event.object, event.method, event.arguments]
        case Cancelled():
            return ["cancelled", event.call.answer_id]
    raise AssertionError(f"an event that no vector knows: {event}")


class ControllerSide:
    """Our controller, doing what a vector says."""

    def __init__(self) -> None:
        self.core = Controller()
        self.does: Mapping[str, Callable[..., object]] = {
            "present": self.present,
            "call": self.call,
            "finish": self.core.finish,
            "release": self.core.release,
            "credit": self.core.credit,
            "ping": self.ping,
            "abort": self.core.abort,
        }

    def present(self, question: int, token: bytes) -> None:
        assert self.core.present(token) == question

    def call(
        self,
        question: int,
        target: Any,
        method: str,
        arguments: Any,
        flags: int,
        accept: int = 1_048_576,
    ) -> None:
        asked = self.core.call(
            ExportId(target) if isinstance(target, int) else (target[0], tuple(target[1])),
            method,
            arguments,
            remaining_ms=30_000,
            no_result=bool(flags & 1),
            no_pipelining=bool(flags & 2),
            accept_bytes=accept,
        )
        assert asked == question

    def ping(self, number: int) -> None:
        assert self.core.ping() == number

    def receive(self, data: bytes) -> Iterable[object]:
        return self.core.receive(data)


class SubjectSide:
    """Our subject, doing what a vector says."""

    def __init__(self) -> None:
        self.core = Subject(ARCHIVE_ID, bootstrap=BOOTSTRAP)
        self.core.hello(ARCHIVE_TIME)
        self.calls: dict[int, Any] = {}
        self.does: Mapping[str, Callable[..., object]] = {
            "value": lambda q, value: self.core.resolve_value(self.calls[q], value),
            "rows": lambda q, tag: self.core.resolve_value(
                self.calls[q], cast(Value, {"rows": [Exported({"object": q}, tag)]})
            ),
            "reference": lambda q, tag: self.core.resolve_object(self.calls[q], {"object": q}, tag),
            "error": lambda q, *error: self.core.fail(self.calls[q], failure(error)),
            "stream": lambda q, header: self.core.open_stream(self.calls[q], header),
            "offer": lambda q, data: self.core.offer(self.calls[q], data),
            "end": self.end,
            "go_away": self.core.go_away,
        }

    def receive(self, data: bytes) -> Iterable[object]:
        # A pause depends on the shell's turns, and is no part of a session.
        return (event for event in self.core.receive(data) if not isinstance(event, Paused))

    def end(self, question: int, error: Sequence[int] | None) -> object:
        call = self.calls[question]
        return self.core.fail(call, failure(error)) if error else self.core.end_stream(call)

    def note(self, event: object) -> None:
        if isinstance(event, CallReady | PresentReceived):
            self.calls[event.answer_id] = event


def failure(error: Sequence[int]) -> CallFailed:
    code, processed = error
    return CALL_FAILURES[code](processed=Processed(processed))


def play(case: Case, role: Role, *, cut: bool) -> None:
    side: Any = ControllerSide() if role is Role.CONTROLLER else SubjectSide()
    seen: list[Any] = []

    def note(events: object) -> None:
        for event in events if isinstance(events, Iterable) else ():
            if isinstance(side, SubjectSide):
                side.note(event)
            seen.append(to_json(shown(event)))

    for step in case.data["steps"]:
        if "hex" in step and step["from"] == role.value:
            assert drained(side.core, role) == said(from_hex(step["hex"]), role), step["words"]
        elif "hex" in step:
            data = from_hex(step["hex"])
            # A megabyte in single bytes shows nothing that a hundred thousandth of it does not.
            size = max(1, len(data) // 10_000) if cut else len(data)
            for start in range(0, len(data), size):
                note(side.receive(data[start : start + size]))
        elif step["at"] == role.value and "does" in step:
            for name, *arguments in from_json(step["does"]):
                note(side.does[name](*arguments))
        elif step["at"] == role.value:
            assert seen == step["sees"], step["words"]
            seen.clear()
    assert seen == []
    assert side.core.data_to_send() == b""


def drained(core: Controller | Subject, role: Role) -> list[Any]:
    data = b""
    while piece := core.data_to_send():
        data += piece
    return said(data, role)


def said(data: bytes, sender: Role) -> list[Any]:
    """What bytes say: the very bytes of each frame, except that texts of errors are free."""
    reader = FrameReader(Role.SUBJECT if sender is Role.CONTROLLER else Role.CONTROLLER)
    found: list[Any] = []
    for places in reader.receive_untrusted(data):
        body, data = data[4 : 4 + reader.body_bytes], data[4 + reader.body_bytes :]
        match places:
            case [17 | 20 as kind, question, *_, [code, processed, _, _]] if places[2] != 0:
                found.append([kind, question, code, processed])
            case [7 | 19 as kind, code, _]:
                found.append([kind, code])
            case _:
                found.append(body.hex())
    assert not reader.partial_frame
    return found


PLAYED = [
    pytest.param(case, Role(role), id=f"{case.name} {role}")
    for case in load("sessions")
    for role in case.data["plays"]
]


@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte by byte"])
@pytest.mark.parametrize(("case", "role"), PLAYED)
def test_a_core_plays_its_side_of_the_session(case: Case, role: Role, cut: bool) -> None:
    play(case, role, cut=cut)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in load("sessions")])
def test_the_frames_of_a_step_are_what_its_bytes_say(case: Case) -> None:
    for step in case.data["steps"]:
        if "frames" in step:
            receiver = Role.SUBJECT if step["from"] == "controller" else Role.CONTROLLER
            reader = FrameReader(receiver)
            came = [
                to_json(list(places)) for places in reader.receive_untrusted(from_hex(step["hex"]))
            ]
            assert came == step["frames"], step["words"]
