"""Where the bytes of a frame stand: its length before it, and the head of a chunk."""

from __future__ import annotations

from struct import Struct
from typing import Final

HEADER_BYTES: Final = 4
HEADER: Final = Struct(">I")
CHUNK_HEADER: Final = Struct(">BQ")
CHUNK_HEAD_BYTES: Final = HEADER_BYTES + CHUNK_HEADER.size
"""What a reader needs to know whose bytes follow, and how many."""

PROMISED_EXT: Final = 4
"""Extension 4: the name of an answer or of a reference, in an argument's place only."""
