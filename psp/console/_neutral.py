"""The one function that every string from a subject passes before a person sees it.

A captured archive chooses its labels, its error texts and the keys of its groups. Printed as they
came they could move the cursor, recolour or retitle the terminal, turn a line around, hide behind
characters without width, or grow until they push everything else off the screen.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from psp.visible import is_visible

TEXT_CHARACTERS_MAX: Final = 200
"""Longest string shown: two terminal lines, more than any honest label or cause has needed."""

MARKS_IN_A_ROW_MAX: Final = 2
"""Combining marks after one letter. Vietnamese needs two; a tower of fifty paints over its
neighbours."""

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS: Final = "…"
_CONTROL_PICTURES: Final = 0x2400  # U+241B looks like "ESC": the attempt stays visible.


def neutral(text: str, limit: int = TEXT_CHARACTERS_MAX) -> str:
    """Return `text` as something that can only be looked at; at most `limit` characters of it.

    No control, bidi, zero-width or otherwise invisible character is left; white space becomes a
    plain space, a control character its picture. Applying it twice changes nothing more. Markup is
    not its business: the terminal turns it off, the page escapes it.
    """
    if limit < 1:
        raise ValueError(f"a text of at most {limit} characters was asked for; allow at least 1")
    # Cut before the walk as well: a megabyte from a hostile member costs no more than its start.
    head = text[: limit + 1]
    shown: list[str] = []
    marks = 0
    for character in head:
        seen = _seen(character)
        marks = marks + 1 if unicodedata.category(seen) in ("Mn", "Me") else 0
        # Replaced, not dropped: dropping would make room and the cut would move the next time.
        shown.append(seen if marks <= MARKS_IN_A_ROW_MAX else REPLACEMENT)
        if marks > MARKS_IN_A_ROW_MAX:
            marks = 0
    if len(head) > limit:
        shown[limit - 1 :] = [_ELLIPSIS]
    return "".join(shown)


def _seen(character: str) -> str:
    if " " <= character <= "~":
        return character
    if character in "\t\n\r" or unicodedata.category(character) == "Zs":
        return " "
    if character < " ":
        return chr(_CONTROL_PICTURES + ord(character))
    return character if is_visible(character) else REPLACEMENT
