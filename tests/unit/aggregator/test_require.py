"""What an asker holds to be an answer."""

from __future__ import annotations

import pytest

from psp.aggregator import Require
from psp.errors import QuestionError


@pytest.mark.parametrize(
    ("text", "least", "ends_early"),
    [
        ("all", 5, False),
        ("any", 1, True),
        ("quorum", 3, True),
        ("quorum:2", 2, True),
        ("deadline", 0, False),
    ],
)
def test_each_word_says_how_many_of_five_and_when_to_stop(
    text: str, least: int, ends_early: bool
) -> None:
    require = Require.parse(text)
    assert str(require) == text
    assert require.least_of(5) == least
    assert [require.is_met(n, 5) for n in range(6)] == [n >= least for n in range(6)]
    assert [require.is_enough(n, 5) for n in range(6)] == [
        ends_early and n >= least for n in range(6)
    ]


@pytest.mark.parametrize("text", ["", "most", "quorum:", "quorum:0", "quorum:-1", "all:3", "ALL"])
def test_any_other_word_is_one_sentence(text: str) -> None:
    with pytest.raises(QuestionError, match="none of all, any, quorum"):
        Require.parse(text)
