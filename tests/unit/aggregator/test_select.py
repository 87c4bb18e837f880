"""Choosing members: what is named must be there, and nobody is never a choice."""

from __future__ import annotations

import pytest

from psp.aggregator import Selection
from psp.errors import EstateError

from .virtual import member

MEMBERS = [
    member("98004", kind="books", labels={"region": "north", "name": "x"}),
    member("98039", kind="books", labels={"region": "south"}),
    member("98103", kind="deeds", labels={"region": "north"}),
    member("plain"),
]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("98004", ["98004"]),
        ("98039 98004", ["98004", "98039"]),
        ("98*", ["98004", "98039", "98103"]),
        ("kind=books", ["98004", "98039"]),
        ("kind=books,kind=deeds region=north", ["98004", "98103"]),
        ("name=plain", ["plain"]),
        ("region=n*", ["98004", "98103"]),
    ],
)
def test_terms_of_one_key_are_alternatives_and_keys_must_all_hold(
    text: str, names: list[str]
) -> None:
    assert [it.name for it in Selection.parse(text).of(MEMBERS)] == names


def test_no_choice_is_everybody() -> None:
    assert Selection().of(MEMBERS) == tuple(MEMBERS)
    assert Selection().of([]) == ()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("98005", "no member has name=98005; there are 98004, 98039, 98103, plain."),
        ("region=west", "no member has region=west; there are north, south."),
        ("floor=3", "no member has a label 'floor'; members can be chosen by kind, name, region."),
        ("name=x", "no member has name=x"),
        ("kind=deeds,region=south", "no member is all of kind=deeds,region=south"),
        ("region=", "'region=' is neither NAME nor KEY=VALUE"),
        ("=north", "'=north' is neither"),
        ("a,,b", "neither"),
    ],
)
def test_a_choice_of_nobody_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(EstateError) as said:
        Selection.parse(text).of(MEMBERS)
    assert sentence in str(said.value)
