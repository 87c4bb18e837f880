"""Two machines meet over real sockets; and what comes when something else knocks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio

from psp.capability import Introduction, Role
from psp.endpoint import Met, _meeting, await_meeting, introduction, meet
from psp.errors import CapabilityError, EstateError, PSPError, Unreachable
from tests.unit.totebox.conftest import machine

LAPTOP, BOX = machine(), machine()
ARCHIVE_ID = b"a" * 32
HOST = "127.0.0.1"


class Person:
    """Somebody who looks at a screen."""

    def __init__(self, says: bool = True) -> None:
        self.says = says
        self.codes: list[str] = []

    async def compare(self, code: str, met: Met) -> bool:
        self.codes.append(code)
        return self.says


class Listening:
    def __init__(self, port: int) -> None:
        self.port = port
        self.log: list[str] = []
        self.result: Met | PSPError | None = None
        self.ended = trio.Event()


@asynccontextmanager
async def listening(person: Person, within_s: float = 20) -> AsyncIterator[Listening]:
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    at = Listening(listeners[0].socket.getsockname()[1])
    own = introduction(BOX, "box", archive_id=ARCHIVE_ID, port=7001)

    async def listen() -> None:
        try:
            at.result = await await_meeting(
                listeners,
                key=BOX,
                own=own,
                compare=person.compare,
                within_s=within_s,
                log=at.log.append,
            )
        except PSPError as exc:
            at.result = exc
        at.ended.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen)
        yield at
        with trio.fail_after(20):
            await at.ended.wait()
        nursery.cancel_scope.cancel()


async def ask(at: Listening, person: Person) -> Met | None:
    return await meet(HOST, at.port, key=LAPTOP, name="laptop", compare=person.compare)


async def test_two_machines_meet_and_two_people_see_one_code() -> None:
    here, there = Person(), Person()
    async with listening(there) as at:
        box = await ask(at, here)
    assert box is not None
    assert isinstance(at.result, Met)
    assert here.codes == there.codes
    assert len(here.codes) == 1
    assert (box.certificate.spki_hash, box.introduction.port) == (BOX.spki_hash, 7001)
    assert box.introduction.archive_id == ARCHIVE_ID
    assert at.result.certificate.spki_hash == LAPTOP.spki_hash
    assert at.result.introduction.name == "laptop"


@pytest.mark.parametrize(
    ("says_here", "says_there"), [(True, False), (False, True), (False, False)]
)
async def test_nobody_is_paired_unless_both_say_yes(says_here: bool, says_there: bool) -> None:
    async with listening(Person(says_there)) as at:
        try:
            found = await ask(at, Person(says_here))
        except Unreachable:  # The other had said no and gone before.
            found = None
    assert found is None
    assert not isinstance(at.result, Met)


GARBAGE: dict[str, bytes] = {
    "an HTTP request": b"GET / HTTP/1.1\r\nHost: box\r\n\r\n" + bytes(100),
    "too little": b"PSPP\x01\x01",
    "nothing": b"",
    "another version": b"PSPP\x02\x01\x01" + bytes(32),
    "a listener's frame": b"PSPP\x01\x01\x02" + bytes(32),
    "a confirmation first": b"PSPP\x01\x03\x01" + bytes(65),
    "a commitment, then garbage": b"PSPP\x01\x01\x01" + bytes(32) + bytes(1164),
    "a commitment, then nothing": b"PSPP\x01\x01\x01" + bytes(32),
}


@pytest.mark.parametrize("name", GARBAGE)
async def test_what_does_not_speak_the_ceremony_is_put_out_and_does_not_count(name: str) -> None:
    here, there = Person(), Person()
    async with listening(there) as at:
        knocking = await trio.open_tcp_stream(HOST, at.port)
        async with knocking:
            with (
                trio.fail_after(10),
                suppress(trio.BrokenResourceError),
            ):  # Put out in mid-sentence.
                await knocking.send_all(GARBAGE[name])
                await knocking.send_eof()
                while await knocking.receive_some(4096):
                    continue
        assert there.codes == []
        assert await ask(at, here) is not None
    assert isinstance(at.result, Met)


async def test_a_flood_of_silent_connections_keeps_nobody_out() -> None:
    async with listening(Person()) as at:
        silent = [await trio.open_tcp_stream(HOST, at.port) for _ in range(60)]
        with trio.fail_after(10):
            assert await ask(at, Person()) is not None
        for stream in silent:
            await stream.aclose()


async def test_bytes_that_come_slowly_prolong_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_meeting, "MEETING_FRAMES_S_MAX", 0.3)
    async with listening(Person()) as at:
        knocking = await trio.open_tcp_stream(HOST, at.port)
        sent = 0
        with suppress(trio.BrokenResourceError):
            while sent < 39:  # One frame; at this pace it would take two seconds.
                await knocking.send_all(b"P")
                sent += 1
                await trio.sleep(0.05)
        assert sent < 39
        await knocking.aclose()
        monkeypatch.undo()
        assert await ask(at, Person()) is not None


async def broken_off(at: Listening) -> None:
    """What one in the middle does with a code that does not fit: he goes, to try again."""

    async def leave(_code: str, _met: Met) -> bool:
        raise Unreachable("he has seen the code and goes")

    with pytest.raises(Unreachable, match="goes"):
        await meet(HOST, at.port, key=LAPTOP, name="laptop", compare=leave)


async def test_whoever_breaks_off_once_the_code_is_known_has_had_the_one_try() -> None:
    async with listening(Person()) as at:
        await broken_off(at)
        with trio.fail_after(10):
            await at.ended.wait()
        with pytest.raises(Unreachable):
            await ask(at, Person())
    assert isinstance(at.result, Unreachable)


async def test_a_second_machine_is_not_heard_while_the_first_compares() -> None:
    first_compares, go_on = trio.Event(), trio.Event()

    async def slowly(_code: str, _met: Met) -> bool:
        first_compares.set()
        await go_on.wait()
        return True

    found: list[Met | None] = []
    async with listening(Person()) as at, trio.open_nursery() as nursery:

        async def first() -> None:
            found.append(await meet(HOST, at.port, key=LAPTOP, name="laptop", compare=slowly))

        nursery.start_soon(first)
        await first_compares.wait()
        with pytest.raises(Unreachable):
            await meet(HOST, at.port, key=machine(), name="late", compare=Person().compare)
        go_on.set()
    assert found != [None]
    assert isinstance(at.result, Met)
    assert at.result.introduction.name == "laptop"


async def test_it_ends_when_nobody_comes() -> None:
    async with listening(Person(), within_s=0.05) as at:
        pass
    assert isinstance(at.result, EstateError)


async def test_one_in_the_middle_gets_two_screens_that_differ() -> None:
    """He takes the caller's call himself and calls the archive under a key of his own."""
    here, there, mallory = Person(), Person(), machine()
    (false_box,) = await trio.open_tcp_listeners(0, host=HOST)
    port = false_box.socket.getsockname()[1]
    own: Introduction = introduction(mallory, "box", archive_id=ARCHIVE_ID, port=7001)
    async with listening(there) as at, trio.open_nursery() as nursery:

        async def take_the_call() -> None:
            await await_meeting(
                [false_box],
                key=mallory,
                own=own,
                compare=Person().compare,
                within_s=10,
                log=lambda _text: None,
            )

        nursery.start_soon(take_the_call)
        await meet(HOST, at.port, key=mallory, name="laptop", compare=Person().compare)
        await meet(HOST, port, key=LAPTOP, name="laptop", compare=here.compare)
    assert here.codes != there.codes
    assert (len(here.codes), len(there.codes)) == (1, 1)


async def test_a_certificate_that_cannot_be_pinned_gives_no_code() -> None:
    there = Person()
    async with listening(there) as at:
        bad = Introduction(name="laptop", certificate=b"\x30" * 300)
        stream = await trio.open_tcp_stream(HOST, at.port)
        async with stream:
            with pytest.raises((CapabilityError, Unreachable)):
                await _meeting._hold(
                    stream,
                    Role.CALLER,
                    bad,
                    LAPTOP,
                    Person().compare,
                    on_revealed=lambda: None,
                )
        assert there.codes == []
        assert await ask(at, Person()) is not None
