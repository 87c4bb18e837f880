"""What a grant may hold over all connections, and what may come before there is one."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from psp.errors import Denied, Overloaded, Processed
from psp.rpc import (
    BOOTSTRAP,
    Aborted,
    Answer,
    CallReady,
    Cancelled,
    ExportId,
    GrantRooms,
    Returned,
    Subject,
    Target,
)
from psp.testing import Pair
from psp.testing._pair import ARCHIVE_ID
from psp.wire import INITIAL_LIMITS, AbortCode, Limits, Promised

from ._seen import GivenUp, arriving, failures, greeted, handles, ids, over, seen


@dataclass
class House:
    """An archive with several connections, and what its grants hold."""

    limits: Limits
    rooms: GrantRooms = field(default_factory=GrantRooms)

    def connect(self, *tags: str) -> Pair:
        """Connect, and present one grant for each tag; they are references 1, 2, …"""
        subject = Subject(ARCHIVE_ID, bootstrap="bootstrap", limits=self.limits, grants=self.rooms)
        pair = Pair(subject=subject)
        pair.greet()
        for tag in tags:
            pair.controller.present(b"token")
            [present] = arriving(pair)
            pair.subject.resolve_object(present, f"root of {tag}", tag)
        pair.carry_to_controller()
        return pair


def house(**limits: int) -> House:
    return House(INITIAL_LIMITS._replace(**limits))


ROOT = ExportId(1)


def start(pair: Pair, on: Target = ROOT) -> list[Answer]:
    pair.controller.call(on, "m", remaining_ms=9, no_pipelining=True)
    return arriving(pair)


def test_calls_of_a_grant_are_counted_over_all_connections() -> None:
    archive = house(grant_calls=2)
    one, two = archive.connect("tag"), archive.connect("tag", "other")
    [first] = start(one)
    [second] = start(two)
    assert start(one) == start(two) == []
    assert failures(one.carry_to_controller()) == [(3, Overloaded, Processed.NO)]
    assert failures(two.carry_to_controller()) == [(4, Overloaded, Processed.NO)]
    # Another grant, and the bootstrap, have room.
    [third] = start(two, ExportId(2))
    [fourth] = start(two, BOOTSTRAP)
    assert archive.rooms.calls == {"tag": 2, "other": 1}
    one.subject.resolve_value(first, None)
    [fifth] = start(two)
    for call in (second, third, fourth, fifth):
        two.subject.resolve_value(call, None)
    assert archive.rooms.calls == {}


def test_a_call_that_is_settled_at_once_takes_no_slot_of_its_grant() -> None:
    archive = house(grant_calls=1)
    pair = archive.connect("tag")
    for _ in range(3):
        pair.controller.call(ROOT, "m", remaining_ms=9)
    for call in pair.subject.receive(pair.controller.data_to_send()):
        pair.subject.resolve_value(handles([call])[0], 1)
        assert archive.rooms.calls == {}
    assert failures(pair.carry_to_controller()) == []


def test_a_stream_that_is_opened_at_once_takes_a_slot_of_its_grant() -> None:
    archive = house(grant_calls=1)
    pair = archive.connect("tag")
    pair.controller.call(ROOT, "m", remaining_ms=9)
    for call in pair.subject.receive(pair.controller.data_to_send()):
        pair.subject.open_stream(handles([call])[0], None)
    assert archive.rooms.calls == {"tag": 1}
    assert start(pair) == []
    pair.cut()
    assert archive.rooms.calls == {"tag": 1}


def test_a_call_that_waits_takes_its_slot_when_it_starts() -> None:
    archive = house(grant_calls=1)
    pair = archive.connect("tag")
    argument = pair.controller.call(ROOT, "m", remaining_ms=9)
    pair.controller.call(ROOT, "m", [Promised([argument, []])], remaining_ms=9)
    pair.controller.call((argument, ()), "m", remaining_ms=9)
    [call] = arriving(pair)
    # The second call found the grant full on arrival, the third when it could have started.
    assert failures(pair.carry_to_controller()) == [(3, Overloaded, Processed.NO)]
    assert ids(pair.subject.resolve_object(call, "object", "tag")) == [4]
    assert archive.rooms.calls == {"tag": 1}


def test_calls_that_start_together_beyond_the_grants_slots_are_overloaded() -> None:
    archive = house(grant_calls=2)
    pair = archive.connect()
    grant = pair.controller.present(b"token")
    for _ in range(3):
        pair.controller.call((grant, ()), "m", remaining_ms=9)
    [present] = arriving(pair)
    ready = pair.subject.resolve_object(present, "root", "tag")
    assert ids(ready) == [2, 3]
    assert failures(pair.carry_to_controller()) == [(4, Overloaded, Processed.NO)]
    for call in handles(ready):
        pair.subject.fail(call, Denied())
    assert archive.rooms.calls == {}


def test_a_cut_connection_keeps_the_slots_of_handlers_that_still_run() -> None:
    """Or cutting the connection would be a way to start more."""
    archive = house(grant_calls=1)
    one, two = archive.connect("tag"), archive.connect("tag")
    [call] = start(one)
    assert seen(one.cut()[1]) == [GivenUp(2)]
    assert start(two) == []
    assert archive.rooms.calls == {"tag": 1}
    assert archive.rooms.exports == {"tag": 1}
    assert one.subject.resolve_value(call, None) == ()
    assert one.subject.resolve_value(call, None) == ()
    assert archive.rooms.calls == {}
    assert len(start(two)) == 1


def test_a_cancelled_call_keeps_its_grants_slot_until_it_ends() -> None:
    archive = house(grant_calls=1)
    pair = archive.connect("tag")
    question = pair.controller.call(ROOT, "m", remaining_ms=9)
    [call] = arriving(pair)
    pair.controller.finish(question)
    pair.carry_to_subject()
    assert start(pair) == []
    pair.subject.resolve_value(call, None)
    assert len(start(pair)) == 1


def test_references_of_a_grant_are_counted_over_all_connections() -> None:
    archive = house(grant_exports=3)
    one, two = archive.connect("tag"), archive.connect("tag")

    def give(pair: Pair) -> list[object]:
        pair.controller.call(ROOT, "open", remaining_ms=9)
        [call] = arriving(pair)
        pair.subject.resolve_object(call, "thing", "tag")
        return [event.payload for event in pair.carry_to_controller() if type(event) is Returned]

    assert give(one) == [2]
    [full] = give(two)
    assert isinstance(full, Overloaded)
    assert full.processed is Processed.YES
    one.controller.release(ExportId(2))
    one.carry_to_subject()
    assert give(two) == [2]
    assert archive.rooms.exports == {"tag": 3}
    two.cut()
    assert archive.rooms.exports == {"tag": 1}
    one.controller.release(ROOT)
    one.carry_to_subject()
    assert archive.rooms.exports == {}


def test_what_the_bootstrap_gives_out_is_no_grants() -> None:
    archive = house(grant_exports=1, grant_calls=1)
    pair = archive.connect()
    for _ in range(3):
        pair.controller.call(BOOTSTRAP, "open", remaining_ms=9)
    calls = arriving(pair)
    assert len(calls) == 3
    for call in calls:
        pair.subject.resolve_object(call, "thing", None)
    assert failures(pair.carry_to_controller()) == []
    pair.cut()
    assert archive.rooms.exports == archive.rooms.calls == {}


def test_bytes_before_the_first_grant_are_limited() -> None:
    pair = over(ungranted_bytes=2_000)
    pair.controller.call(BOOTSTRAP, "m", ["x" * 1_900], remaining_ms=9)
    [call] = arriving(pair)
    # A reference without a tag is no grant, and a refused token is none either.
    pair.subject.resolve_object(call, "thing", None)
    pair.controller.present(b"token")
    [present] = arriving(pair)
    pair.subject.fail(present, Denied())
    pair.controller.call(BOOTSTRAP, "m", ["x" * 200], remaining_ms=9)
    [aborted] = pair.carry_to_subject()
    assert isinstance(aborted, Aborted)
    assert (aborted.code, aborted.by_peer) == (AbortCode.LIMIT, False)
    assert "before any grant" in aborted.text
    assert pair.carry_to_controller()[-1] == Aborted(4, aborted.text)


def test_bytes_after_a_grant_are_not_limited() -> None:
    pair = over(ungranted_bytes=2_000)
    pair.controller.present(b"token")
    [present] = arriving(pair)
    pair.subject.resolve_object(present, "root", "tag")
    for _ in range(5):
        pair.controller.call(BOOTSTRAP, "m", ["x" * 1_900], remaining_ms=9)
        assert len(arriving(pair)) == 1


@pytest.mark.parametrize("piece", [1, 700])
def test_what_is_counted_does_not_depend_on_how_the_bytes_were_cut(piece: int) -> None:
    pair = over(ungranted_bytes=2_000)
    for _ in range(5):
        pair.controller.call(BOOTSTRAP, "m", ["x" * 450], remaining_ms=9)
    data = pair.controller.data_to_send()
    events = []
    for start in range(0, len(data), piece):
        events += list(pair.subject.receive(data[start : start + piece]))
    *ready, cancelled_or_aborted = [each for each in events if not isinstance(each, Cancelled)]
    # The calls below the limit have had their effect.
    assert [type(each) for each in ready] == [CallReady] * 4
    assert isinstance(cancelled_or_aborted, Aborted)
    assert cancelled_or_aborted.code == AbortCode.LIMIT


def test_without_rooms_of_the_listeners_a_connection_has_its_own() -> None:
    pair = greeted(INITIAL_LIMITS._replace(grant_calls=1))
    pair.controller.present(b"token")
    [present] = arriving(pair)
    pair.subject.resolve_object(present, "root", "tag")
    pair.carry_to_controller()
    assert len(start(pair)) == 1
    assert start(pair) == []
