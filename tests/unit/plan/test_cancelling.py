"""Two tables taken from each other leave exactly what differs, or say that it is too much."""

from __future__ import annotations

import hashlib
from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.errors import Invalid
from psp.plan import CELL_BYTES, CancellingTable, difference_untrusted, tag_of


def digest(name: object) -> bytes:
    return hashlib.sha256(str(name).encode()).digest()


def table(names: Counter[int], cells: int = 510) -> bytes:
    made = CancellingTable(cells)
    for name in names.elements():
        made.add(digest(name))
    return made.to_bytes()


bags = st.dictionaries(st.integers(0, 60), st.integers(1, 3)).map(Counter)


@given(bags, bags)
def test_what_is_on_one_side_only_is_found_as_often_as_it_is_there_more(
    left: Counter[int], right: Counter[int]
) -> None:
    found = difference_untrusted(table(left), table(right))
    assert found is not None
    assert Counter(found.left) == Counter(
        tag_of(digest(name)) for name in (left - right).elements()
    )
    assert Counter(found.right) == Counter(
        tag_of(digest(name)) for name in (right - left).elements()
    )


def test_eighty_differences_of_forty_thousand_fit_fourteen_kilobytes() -> None:
    left = Counter(range(20_000))
    right = Counter({name + (100_000 if name % 500 == 0 else 0): 1 for name in range(20_000)})
    one, other = table(left), table(right)
    found = difference_untrusted(one, other)
    assert len(one) == 510 * CELL_BYTES == 14_280
    assert found is not None
    assert set(found.left) == {tag_of(digest(name)) for name in range(0, 20_000, 500)}
    assert len(found.right) == 40


def test_too_many_differences_are_told_and_never_guessed() -> None:
    assert difference_untrusted(table(Counter(range(900))), table(Counter())) is None


@given(st.binary(min_size=48 * CELL_BYTES, max_size=48 * CELL_BYTES))
def test_what_a_captured_archive_sends_ends_in_finite_time(noise: bytes) -> None:
    difference_untrusted(noise, table(Counter(range(5)), 48))


def test_a_table_of_another_size_is_refused() -> None:
    with pytest.raises(Invalid, match="different sizes"):
        difference_untrusted(table(Counter(), 48), table(Counter(), 51))
    for cells in (0, 49, 10**9):
        with pytest.raises(Invalid, match="a multiple of 3"):
            CancellingTable(cells)


def test_the_order_of_rows_does_not_show() -> None:
    names = list(range(300))
    one = CancellingTable(48)
    other = CancellingTable(48)
    for name in names:
        one.add(digest(name))
    Random(1).shuffle(names)
    for name in names:
        other.add(digest(name))
    assert one.to_bytes() == other.to_bytes()
