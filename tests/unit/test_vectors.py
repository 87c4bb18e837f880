"""The cases as JSON are the authority: our decoders and cores must agree with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from psp.conformance import FILES, Case, from_hex, from_json, load, to_json
from psp.errors import MalformedFrame
from psp.wire import (
    CHUNK,
    HEADER_BYTES,
    FrameReader,
    FrameWriter,
    Role,
    chunk_frame,
    decode_body_untrusted,
)

VECTORS = Path(__file__).parents[1] / "vectors"


def named(file: str) -> list[object]:
    return [pytest.param(case, id=case.name) for case in load(file)]


def role(case: Case) -> Role:
    return Role(case.data["receiver"])


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("case", named("frames_valid"))
def test_a_valid_body_decodes_to_the_frame_that_is_written(case: Case) -> None:
    body = from_hex(case.data["hex"])
    assert to_json(list(decode_body_untrusted(body, receiver=role(case)))) == case.data["frame"]
    reader = FrameReader(role(case))
    twice = list(reader.receive_untrusted(framed(body) * 2))
    assert [to_json(list(frame)) for frame in twice] == [case.data["frame"]] * 2


@pytest.mark.parametrize("case", named("frames_valid"))
def test_the_frame_that_is_written_encodes_to_a_body_that_says_the_same(case: Case) -> None:
    frame = from_json(case.data["frame"])
    if frame[0] == CHUNK:
        body = chunk_frame(frame[1], memoryview(frame[2]))[HEADER_BYTES:]
    else:
        body = FrameWriter().pack(frame)
    assert to_json(list(decode_body_untrusted(body, receiver=role(case)))) == case.data["frame"]


@pytest.mark.parametrize("case", named("frames_invalid"))
def test_an_invalid_body_is_malformed_wherever_it_stands(case: Case) -> None:
    body = from_hex(case.data["hex"])
    with pytest.raises(MalformedFrame):
        decode_body_untrusted(body, receiver=role(case))
    with pytest.raises(MalformedFrame):
        list(FrameReader(role(case)).receive_untrusted(framed(body)))
    good = framed(bytes.fromhex("920601" if role(case) is Role.SUBJECT else "921201"))
    came: list[object] = []
    with pytest.raises(MalformedFrame):
        came.extend(FrameReader(role(case)).receive_untrusted(good + framed(body) + good))
    assert len(came) == 1, "the frame before it has its effect, the frame after it has none"


@pytest.mark.parametrize("file", FILES)
def test_the_vectors_are_the_files_that_the_package_carries(file: str) -> None:
    link = VECTORS / f"{file}.json"
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.read_text("ascii")
