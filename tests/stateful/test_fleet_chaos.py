"""Chaos in virtual time: no number is ever wrong, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import trio
import trio.testing

from .fleet_chaos import chaos


def test_no_number_is_wrong_while_members_come_and_go(tmp_path: Path) -> None:
    tally = trio.run(chaos, 7.0, 1, tmp_path, clock=trio.testing.MockClock(autojump_threshold=0))
    assert tally.wrong == []
    assert tally.leaked == []
    assert tally.views > 10
    assert {"answered", "unreachable", "refused", "suspended", "late"} <= set(tally.states)
