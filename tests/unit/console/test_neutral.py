from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.console import neutral
from psp.endpoint import printable
from psp.visible import is_visible

INVISIBLE = "\u200b\u200d\u2060\ufeff\u00ad\u034f\u115f\u3164\u2800\ufe0f\U000e0041\U000e0100"


@given(st.text(), st.integers(1, 300))
def test_what_comes_out_can_only_be_looked_at(text: str, limit: int) -> None:
    shown = neutral(text, limit)
    assert len(shown) <= limit
    assert not [
        character
        for character in shown
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI"}
        or character in INVISIBLE
    ]


@given(st.text(st.sampled_from("a\u0301\u0302\u0303\x1b\u202e\u200d…\u00a0é")), st.integers(1, 20))
def test_twice_is_once(text: str, limit: int) -> None:
    once = neutral(text, limit)
    assert neutral(once, limit) == once


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, *range(0x80, 0xA0)])
def test_no_control_character_survives(code: int) -> None:
    assert chr(code) not in neutral(f"a{chr(code)}b")


def test_a_control_character_stays_visible_as_its_picture() -> None:
    assert neutral("98004\x1b[31m") == "98004␛[31m"


def test_white_space_of_every_kind_is_a_space() -> None:
    assert neutral("a\nb\tc\u00a0d\u2003e") == "a b c d e"


def test_honest_text_of_any_language_is_left_alone() -> None:
    text = "Ho\u0302\u0323 Chi\u0301 Minh, Zürich, 東京, תל אביב, O'Neill & Sons"
    assert neutral(text) == text


def test_a_tower_of_marks_is_taken_down() -> None:
    assert neutral("e" + "\u0301" * 9).count("\u0301") < 9


def test_a_cut_is_shown() -> None:
    assert neutral("abcdef", 4) == "abc…"
    assert neutral("abcd", 4) == "abcd"


def test_a_limit_that_shows_nothing_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="0 characters"):
        neutral("a", 0)


def test_a_screen_and_an_error_text_neutralise_the_same_characters() -> None:
    """Every plane that has characters, and the one of tags and variations."""
    everything = [chr(code) for code in (*range(0x20000), *range(0xE0000, 0xE1000))]
    by_screen = {character for character in everything if neutral(character) != character}
    by_error = {character for character in everything if printable(character) != character}
    assert by_screen == by_error == {one for one in everything if not is_visible(one)}
    assert set(INVISIBLE) | set("\n\t\x1b\x9b\u202e\u2028\xa0\ud800") <= by_error
    assert printable("a\u2800b\ufe0f") == "a\ufffdb\ufffd"
