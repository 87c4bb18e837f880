from __future__ import annotations

from datetime import UTC, datetime

import pytest
import trio
import trio.testing

from psp.rpc import BOOTSTRAP, Aborted, CallReady, Controller, Subject
from psp.testing import Hear, ScriptedPeer, frame_bytes
from psp.wire import RETURN, SUBJECT_ABORT, SUBJECT_HELLO, Role

HELLO = [0, [1], {}, []]
ARCHIVE_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SUBJECT_GREETING = [16, 1, {}, [], bytes(32), ARCHIVE_TIME]


def subject() -> Subject:
    core = Subject(bytes(32), bootstrap="bootstrap")
    core.hello(ARCHIVE_TIME)
    return core


def test_a_script_is_played_to_a_core_and_what_it_says_is_kept() -> None:
    core = subject()
    peer = ScriptedPeer(Role.CONTROLLER)

    events = peer.play_to(core, [HELLO, Hear(SUBJECT_HELLO), b"\0\0\0\1\xc0"])

    assert [type(event) for event in events] == [Aborted]
    assert [frame[0] for frame in peer.heard] == [SUBJECT_HELLO, SUBJECT_ABORT]


def test_the_other_role_can_be_played_too() -> None:
    core = Controller()
    question = core.call(BOOTSTRAP, "echo", [], remaining_ms=1)
    peer = ScriptedPeer(Role.SUBJECT)

    peer.play_to(core, [Hear(2), SUBJECT_GREETING, [RETURN, question, 0, "yes"]])

    assert core.open_questions == 0


def test_a_line_that_is_not_fulfilled_says_what_came_instead() -> None:
    with pytest.raises(AssertionError, match="SubjectHello"):
        ScriptedPeer(Role.CONTROLLER).play_to(subject(), [HELLO, Hear(RETURN)])


def test_lawless_frames_can_be_said() -> None:
    assert frame_bytes([99, "x", ARCHIVE_TIME])[:4] == b"\x00\x00\x00\x0e"


async def test_a_script_is_played_on_a_stream_until_the_other_side_closes() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    core = subject()

    async def answer() -> None:
        async for data in theirs:
            for event in core.receive(bytes(data)):
                if isinstance(event, CallReady):
                    break
            await theirs.send_all(core.data_to_send() + frame_bytes([RETURN, 1, 0, None]))
            await theirs.aclose()
            return

    peer = ScriptedPeer(Role.CONTROLLER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        await peer.play_on(ours, [HELLO, Hear(SUBJECT_HELLO), Hear(RETURN), HELLO])

    assert [frame[0] for frame in peer.heard] == [SUBJECT_HELLO, RETURN]
    await peer.hear_to_the_end(ours)
    assert peer.has_heard_end
