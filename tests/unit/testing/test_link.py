from __future__ import annotations

from random import Random

from psp.testing import Link, VirtualClock

TEXT = bytes(range(256)) * 4


def link(seed: int = 1, delay_ms: tuple[int, int] = (0, 0)) -> Link:
    return Link(Random(seed), VirtualClock(), delay_ms=delay_ms)


def pieces(seed: int) -> list[bytes]:
    way = link(seed).to_subject
    way.send(TEXT)
    received = []
    while way.bytes_on_the_way:
        received.append(way.receive())
    return received


def test_bytes_arrive_whole_and_in_order_however_they_were_cut() -> None:
    for seed in range(50):
        assert b"".join(pieces(seed)) == TEXT
    assert max(len(pieces(seed)) for seed in range(50)) > 3


def test_what_was_sent_apart_can_arrive_joined() -> None:
    way = link().to_subject
    way.send(b"one")
    way.send(b"two")

    assert way.take(5) == b"onetw"
    assert way.take(9) == b"o"


def test_one_seed_gives_one_run() -> None:
    assert pieces(3) == pieces(3)
    assert pieces(3) != pieces(4)


def test_bytes_are_late_and_never_overtake() -> None:
    for seed in range(50):
        on = link(seed, delay_ms=(1, 100))
        for number in range(20):
            on.to_controller.send(bytes([number]))
        assert on.to_controller.bytes_due == 0
        on.clock.advance(100)
        assert on.to_controller.take(20) == bytes(range(20))


def test_a_stalled_way_delivers_later_and_the_other_one_meanwhile() -> None:
    on = link()
    on.to_subject.stall(10)
    on.to_subject.send(b"late")
    on.to_controller.send(b"now")

    assert (on.to_subject.receive(), on.to_controller.bytes_due) == (b"", 3)
    on.clock.advance(10)
    assert on.to_subject.bytes_due == 4


def test_a_cut_loses_what_is_on_the_way() -> None:
    on = link()
    on.to_subject.send(b"lost")
    on.cut()
    on.to_subject.send(b"never sent")

    assert on.is_cut
    assert on.to_subject.bytes_on_the_way == 0


def test_bytes_on_the_way_can_be_changed() -> None:
    way = link().to_subject
    way.send(b"hello ")
    way.send(b"world")
    way.replace(4, 7, b"-")

    assert way.take(99) == b"hell-orld"
