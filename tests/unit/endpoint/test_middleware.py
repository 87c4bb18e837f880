"""Middleware by itself: what it may see, and the order in which several are entered and left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from psp.endpoint import CallSeen, Middleware
from psp.endpoint._middleware import compose, shown_tag

SEEN = CallSeen("controller", "total", 7, "98004")


def noting(name: str, notes: list[str]) -> Middleware:
    @contextmanager
    def note(seen: CallSeen) -> Iterator[None]:
        notes.append(f"{name} enters {seen.method}")
        try:
            yield
        except BaseException as exc:
            notes.append(f"{name} leaves with {exc}")
            raise
        notes.append(f"{name} leaves")

    return note


def test_no_middleware_is_none_so_that_a_call_pays_nothing() -> None:
    assert compose([]) is None


def test_one_middleware_is_itself() -> None:
    one = noting("one", [])
    assert compose([one]) is one


def test_several_are_entered_in_order_and_left_in_reverse() -> None:
    notes: list[str] = []
    composed = compose([noting(name, notes) for name in "abc"])
    assert composed is not None
    with composed(SEEN):
        notes.append("call")

    assert notes == [
        "a enters total",
        "b enters total",
        "c enters total",
        "call",
        "c leaves",
        "b leaves",
        "a leaves",
    ]


def test_each_hears_how_the_call_failed() -> None:
    notes: list[str] = []
    composed = compose([noting("a", notes), noting("b", notes)])
    assert composed is not None
    with pytest.raises(ValueError, match="no"), composed(SEEN):
        raise ValueError("no")

    assert notes[2:] == ["b leaves with no", "a leaves with no"]


def test_one_that_refuses_at_the_entry_lets_the_outer_ones_leave() -> None:
    notes: list[str] = []

    def refuse(seen: CallSeen) -> Iterator[None]:
        raise PermissionError(seen.peer)

    composed = compose([noting("a", notes), contextmanager(refuse), noting("c", notes)])
    assert composed is not None
    with pytest.raises(PermissionError, match="98004"), composed(SEEN):
        notes.append("never")

    assert notes == ["a enters total", "a leaves with 98004"]


def test_one_that_would_swallow_a_failure_cannot() -> None:
    @contextmanager
    def swallow(_seen: CallSeen) -> Iterator[None]:
        with suppress(ValueError):
            yield

    notes: list[str] = []
    composed = compose([noting("a", notes), swallow])
    assert composed is not None
    with pytest.raises(ValueError, match="kept"), composed(SEEN):
        raise ValueError("kept")

    assert notes[-1] == "a leaves with kept"


def test_one_that_fails_at_the_exit_is_heard_by_the_outer_ones() -> None:
    @contextmanager
    def trip(_seen: CallSeen) -> Iterator[None]:
        yield
        raise OSError("disk full")

    notes: list[str] = []
    composed = compose([noting("a", notes), trip])
    assert composed is not None
    with pytest.raises(OSError, match="disk full"), composed(SEEN):
        pass

    assert notes[-1] == "a leaves with disk full"


def test_a_tag_is_shown_by_its_first_digits_alone() -> None:
    assert shown_tag(bytes(range(32))) == "000102030405"
    assert shown_tag(None) == ""


def test_what_is_seen_has_no_room_for_arguments_or_values() -> None:
    assert CallSeen._fields == ("role", "method", "question", "peer", "grant")
