"""Where the bytes of a frame stand: its length before it, and the head of a chunk."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final

HEADER_BYTES: Final = 4
HEADER: Final = Struct(">I")
CHUNK_HEADER: Final = Struct(">BQ")
CHUNK_HEAD_BYTES: Final = HEADER_BYTES + CHUNK_HEADER.size
"""What a reader needs to know whose bytes follow, and how many."""

KIND_END: Final = HEADER_BYTES + 2
"""Where the number of a short frame begins: behind its length, its list's head, and its kind."""

NUMBER_FORMS: Final[Mapping[int, Struct]] = {0xCD: Struct(">H"), 0xCE: Struct(">I")}
"""By its first byte, how MessagePack writes the number of any question but the first 255 of a
connection, and those above four thousand million."""

PROMISED_EXT: Final = 4
"""Extension 4: the name of an answer or of a reference, in an argument's place only."""
