"""Chaos with real processes: no number is ever wrong, nobody stays away, and nothing is left."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from .estate_chaos import chaos


@pytest.mark.slow
def test_no_number_is_wrong_while_real_archives_come_and_go(tmp_path: Path) -> None:
    tally = trio.run(chaos, 2.0, 3, tmp_path)
    assert tally.wrong == []
    assert tally.leaked == []
    assert tally.views >= 3
    assert tally.troubles
