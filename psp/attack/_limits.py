"""The limits of an attack, each with its reason."""

from __future__ import annotations

from typing import Final

CONNECT_S: Final = 5.0
"""As long as an aggregator waits for a member."""

ANSWER_S: Final = 10.0
"""A refusal takes milliseconds. What does not come within ten seconds is told as unclear."""

HONEST_S: Final = 300
"""How long the grants last that an attack makes out properly: longer than any attack runs."""

STARTING_S: Final = 3.0
"""An archive that has just started refuses what was signed within two seconds of its start
(capabilities.md, "Signed calls"); an honest call is signed anew after this."""

VALUES_MAX: Final = 60
"""Values of the column that a target stands out in: a tracker names half of them in one set, and a
set holds 64."""
