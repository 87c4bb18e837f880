from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.conformance import Case, from_hex, load
from psp.endpoint import Recorder
from psp.wire import FRAMES, FrameWriter, Promised, Role, chunk_frame

WHEN = datetime(2026, 1, 2, tzinfo=UTC)


class Recording:
    """A recorder on the controller's side, its lines read back."""

    def __init__(self, role: Role = Role.CONTROLLER) -> None:
        self.text = ""
        self.now_s = 100.0
        self.recorder = Recorder(self.write, role=role, clock=lambda: self.now_s)

    def write(self, text: str) -> None:
        self.text += text

    def say(self, way: Literal["in", "out"], *places: object) -> None:
        writer = FrameWriter()
        writer.write(places)
        self.recorder(way, writer.take())

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]


def test_a_call_and_its_answer_are_two_lines_without_a_value() -> None:
    recording = Recording()
    recording.say("out", 2, 1, 0, "row", ["Mrs Example", 7, {"k": 1}], 30_000, 1024, 2, b"sig")
    recording.now_s += 0.25
    recording.say("in", 17, 1, 0, {"name": "Mrs Example"})
    assert recording.lines == [
        {
            "s": 0.0,
            "from": "controller",
            "frame": "CALL",
            "question": 1,
            "target": 0,
            "method": "row",
            "arguments": ["text of 11", "integer", "map of 1"],
            "remaining_ms": 30000,
            "accept_bytes": 1024,
            "flags": 2,
            "invocation": 3,
            "bytes": 38,
        },
        {
            "s": 0.25,
            "from": "subject",
            "frame": "RETURN",
            "question": 1,
            "status": 0,
            "payload": "map of 1",
            "bytes": 22,
        },
    ]


def test_an_error_is_its_word_whether_it_was_processed_and_its_correlation_id() -> None:
    recording = Recording()
    recording.say("in", 17, 1, 2, [13, 1, "c-7\x1b[31m", "cannot read Mrs Example"])
    (line,) = recording.lines
    assert line["error"] == "failed"
    assert line["processed"] == 1
    assert line["correlation"] == "c-7�[31m"
    assert line["text"] == 23
    assert "Example" not in recording.text


def test_names_of_answers_are_shown_and_the_keys_of_a_path_are_not() -> None:
    recording = Recording()
    recording.say("out", 2, 2, [1, ["Mrs Example", 0]], "next", [[Promised(3)]], 1, 1, 0, None)
    (line,) = recording.lines
    assert line["target"] == "1 + 2 steps"
    assert line["arguments"] == ["list of 1"]


def test_bytes_that_are_no_frame_are_one_line_and_then_silence() -> None:
    recording = Recording()
    recording.recorder("in", bytes.fromhex("0000000392151bffffffff") + b"Mrs Example")
    recording.recorder("in", b"\x00\x00\x00\x03\x92\x15\x01")
    recording.say("out", 6, 1)
    assert [(line["from"], line["frame"]) for line in recording.lines] == [
        ("subject", "PONG"),
        ("subject", "malformed"),
        ("controller", "PING"),
    ]


def test_a_frame_that_never_ends_is_named_when_the_recording_is_closed() -> None:
    recording = Recording(Role.SUBJECT)
    recording.recorder("in", b"\x00\x00\x00\x09\x99")
    assert recording.lines == []
    recording.recorder.close()
    assert [(line["from"], line["frame"]) for line in recording.lines] == [
        ("controller", "incomplete")
    ]


def test_a_disk_that_is_full_ends_the_recording_and_not_the_connection() -> None:
    def full(text: str) -> None:
        raise OSError("no space left")

    recorder = Recorder(full, role=Role.CONTROLLER, clock=lambda: 0.0)
    recorder("out", b"\x00\x00\x00\x03\x92\x06\x01")
    assert isinstance(recorder.failure, OSError)
    recorder("out", b"\x00\x00\x00\x03\x92\x06\x01")
    recorder.close()


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in load("frames_valid")])
def test_every_kind_of_frame_has_its_line(case: Case) -> None:
    receiver = Role(case.data["receiver"])
    recording = Recording(receiver)
    body = from_hex(case.data["hex"])
    recording.recorder("in", len(body).to_bytes(4, "big") + body)
    (line,) = recording.lines
    assert line["frame"] in {shape.name for shape in FRAMES if shape.kind == case.data["frame"][0]}
    assert line["bytes"] == len(body)


@pytest.mark.parametrize("case", [pytest.param(c, id=c.name) for c in load("frames_invalid")])
def test_hostile_bytes_are_recorded_as_malformed_and_raise_nothing(case: Case) -> None:
    recording = Recording(Role(case.data["receiver"]))
    body = from_hex(case.data["hex"])
    recording.recorder("in", len(body).to_bytes(4, "big") + body)
    assert recording.recorder.failure is None
    assert [line["frame"] for line in recording.lines] == ["malformed"]


def disguises(secret: bytes) -> Iterator[bytes]:
    """The forms in which a secret could stand in a text."""
    yield secret
    yield secret.hex().encode()
    yield secret.hex().upper().encode()
    for lead in range(3):
        # In base64 the letters depend on where the secret starts; both ends depend on neighbours.
        yield base64.b64encode(bytes(lead) + secret)[4:-4]
        yield base64.urlsafe_b64encode(bytes(lead) + secret)[4:-4]
    yield json.dumps(secret.decode("utf-8", "replace"))[1:-1].encode()
    yield repr(secret)[2:-1].encode()


SECRETS = st.binary(min_size=12, max_size=40).filter(lambda data: len(set(data)) > 8) | st.text(
    min_size=12, max_size=40
).filter(lambda text: len(set(text)) > 8).map(str.encode)


@given(SECRETS, st.integers(2**40, 2**62))
def test_no_secret_is_ever_in_a_recording(secret: bytes, number: int) -> None:
    text = secret.decode("utf-8", "replace")
    value = [secret, text, {text: [number, Decimal(number), {"a": secret}]}]
    recording = Recording()
    recording.say("out", 0, [1], {text: 1}, [text])
    recording.say("out", 1, 1, secret)
    recording.say("out", 2, 2, [1, [text]], "m", value, 1, 1, 0, secret)
    recording.say("out", 7, 1, text)
    recording.say("in", 16, 1, {text: 1}, [text], bytes(32), WHEN)
    recording.say("in", 17, 1, 0, value)
    recording.say("in", 17, 2, 2, [1, 0, "", text])
    recording.say("in", 17, 3, 3, value)
    recording.recorder("in", chunk_frame(3, memoryview(secret)))
    recording.say("in", 20, 3, [1, 0, "", text])
    recording.say("in", 19, 1, text)
    recording.recorder("in", secret)
    recording.recorder("out", secret)
    recording.recorder.close()
    assert len(recording.lines) >= 11
    assert str(number) not in recording.text
    for disguise in (*disguises(secret), *disguises(text.encode())):
        assert disguise not in recording.text.encode(), disguise


def test_a_fault_of_our_own_ends_the_recording_and_not_the_connection() -> None:
    def forgetful(places: object) -> dict[str, object]:
        raise KeyError("no such field")

    lines: list[str] = []
    recorder = Recorder(lines.append, role=Role.CONTROLLER, clock=lambda: 0.0, redact=forgetful)
    recorder("out", b"\x00\x00\x00\x03\x92\x06\x01")
    assert (repr(recorder.failure), lines) == ("KeyError('no such field')", [])
