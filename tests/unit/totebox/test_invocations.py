"""Each signed call is let through once, and remembering that has a bound."""

from __future__ import annotations

import pytest

from psp.errors import GrantRefused, Overloaded
from psp.totebox._invocations import NONCES_MAX, NONCES_OF_HOLDER_MAX, Nonces

NOW = 1_800_000_000
HOLDER, OTHER = b"h" * 32, b"o" * 32


def nonce(number: int) -> bytes:
    return number.to_bytes(16, "big")


def use(nonces: Nonces, number: int, *, by: bytes = HOLDER, ends: int = 60, now: int = 0) -> None:
    nonces.use(by, nonce(number), expires_s=NOW + ends, now_s=NOW + now)


def test_a_nonce_is_used_once_by_each_holder() -> None:
    nonces = Nonces()
    use(nonces, 1)
    use(nonces, 2)
    use(nonces, 1, by=OTHER)

    for by in (HOLDER, OTHER):
        with pytest.raises(GrantRefused, match="'invocation'"):
            use(nonces, 1, by=by, now=59)


def test_a_refused_nonce_is_not_remembered_twice() -> None:
    nonces = Nonces()
    use(nonces, 1)
    with pytest.raises(GrantRefused):
        use(nonces, 1, ends=61)

    use(nonces, 2, ends=200, now=60)
    assert len(nonces) == 1


def test_what_is_over_is_forgotten() -> None:
    nonces = Nonces()
    for number in range(100):
        use(nonces, number, ends=60 + number, now=number)

    assert len(nonces) == 60
    use(nonces, 1000, ends=300, now=240)
    assert len(nonces) == 1
    assert len(nonces._of_holder) == 1


def test_a_clock_that_is_set_back_revives_nothing() -> None:
    nonces = Nonces()
    use(nonces, 1)
    use(nonces, 2, ends=300, now=240)  # Forgets the first one.

    with pytest.raises(GrantRefused):
        use(nonces, 1)
    use(nonces, 3, ends=61)


def test_a_clock_that_jumps_ahead_and_back_costs_no_more_than_a_minute() -> None:
    nonces = Nonces()
    use(nonces, 1)
    use(nonces, 2, ends=10**8, now=10**8 - 60)

    with pytest.raises(GrantRefused):
        use(nonces, 1)
    use(nonces, 3, ends=61, now=1)


def test_one_holder_cannot_take_the_room_of_the_others() -> None:
    nonces = Nonces()
    for number in range(NONCES_OF_HOLDER_MAX):
        use(nonces, number)

    with pytest.raises(Overloaded):
        use(nonces, NONCES_OF_HOLDER_MAX)
    use(nonces, 0, by=OTHER)
    use(nonces, NONCES_OF_HOLDER_MAX, ends=120, now=60)


def test_the_memory_is_bounded_and_nothing_in_it_makes_way() -> None:
    """Were the oldest dropped for the newest, a full memory would be a way to run a call twice."""
    nonces = Nonces()
    for number in range(NONCES_MAX):
        use(nonces, number, by=bytes([number % 4]) * 32)

    with pytest.raises(Overloaded):
        use(nonces, 1, by=OTHER)
    with pytest.raises(GrantRefused):
        use(nonces, 0, by=bytes(32))
    assert len(nonces) == NONCES_MAX


def test_what_found_no_room_may_come_again() -> None:
    nonces = Nonces()
    for number in range(NONCES_OF_HOLDER_MAX):
        use(nonces, number, ends=30)
    with pytest.raises(Overloaded):
        use(nonces, 10**6, ends=60)

    use(nonces, 10**6, ends=60, now=30)
