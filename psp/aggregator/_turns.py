"""Whose question goes next: tenants of one process share its time, however much each asks."""

from __future__ import annotations

from dataclasses import dataclass

from psp import endpoint

from ._limits import (
    LETTERS_AT_ONCE_MAX,
    LETTERS_BESIDE_MAX,
    LETTERS_WAITING_MAX,
    QUESTIONS_AT_ONCE_MAX,
    QUESTIONS_WAITING_MAX,
)


@dataclass(slots=True)
class Turns(endpoint.Turns):
    """The turns of all tenants of one process: by default those of questions."""

    at_once: int = QUESTIONS_AT_ONCE_MAX
    waiting_max: int = QUESTIONS_WAITING_MAX


def letter_turns() -> Turns:
    """Give the turns of what is carried: a view at a console is a letter to each member."""
    return Turns(LETTERS_AT_ONCE_MAX, LETTERS_WAITING_MAX, LETTERS_BESIDE_MAX)
