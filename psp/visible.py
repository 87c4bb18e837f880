"""Which characters a person can see: the one table for every text that a stranger has chosen."""

from __future__ import annotations

from typing import Final

# Unicode's default ignorables (DerivedCoreProperties.txt) whose category says letter, mark or
# symbol, and the blank braille pattern. `str.isprintable` knows the others by their category:
# control, format (bidi, zero width, tags), surrogate, private use, unassigned, separators.
_INVISIBLE: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
    + "".join(map(chr, range(0x180B, 0x1810)))
    + "".join(map(chr, range(0xFE00, 0xFE10)))
    + "".join(map(chr, range(0xE0100, 0xE01F0)))
)


def is_visible(text: str) -> bool:
    """Whether each character has a shape of its own, or is the plain space."""
    return text.isprintable() and _INVISIBLE.isdisjoint(text)
