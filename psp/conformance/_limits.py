"""How long and how much a runner waits for."""

from __future__ import annotations

from typing import Final

ANSWER_S_DEFAULT: Final = 5.0
"""How long one answer of the peer may take. A peer at the other end of the world, under a debugger
that prints every frame, needs one second; a silent one costs this much for each case."""

VISIT_S_DEFAULT: Final = 60.0
"""How long we wait for the next connection of a controller under test: a person restarts it."""

READ_BYTES: Final = 64 * 1024

LEAVING_FRAMES_MAX: Final = 100
"""Frames of a controller between its answer and its end. An honest one gives back an answer, a
reference and some credit; each may take as long as an answer, so a babbler must not go on."""
