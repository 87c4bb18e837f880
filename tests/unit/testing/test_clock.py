from __future__ import annotations

import pytest

from psp.testing import VirtualClock


def test_time_passes_only_when_told() -> None:
    clock = VirtualClock()
    clock.advance(1500)

    assert (clock.now_ms, clock()) == (1500, 1.5)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="only moves forward"):
        VirtualClock().advance(-1)
