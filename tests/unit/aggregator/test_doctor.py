"""Why a member does not answer: the first step that fails, and what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from psp.aggregator import Diagnosis
from psp.errors import EstateError

from .virtual import Estate, Ready, estate, fleet, named


def examined(of: Estate) -> dict[str, Diagnosis]:
    async def main() -> dict[str, Diagnosis]:
        async with fleet(of) as opened:
            return {each.member: each for each in await opened.examine(deadline_s=3)}

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def last(found: Diagnosis) -> tuple[str, bool]:
    return found.steps[-1].what, found.steps[-1].is_well


def test_each_member_is_looked_at_up_to_the_step_that_fails(tmp_path: Path) -> None:
    of = estate(tmp_path, named("well", "down", "mute", "rest"))
    of.host("down").is_down = True
    of.host("mute").is_silent = True
    of.boxes["rest"].state = "suspended"
    found = examined(of)
    assert {name: last(each) for name, each in found.items()} == {
        "well": ("answer", True),
        "down": ("connection", False),
        "mute": ("connection", False),
        "rest": ("health", False),
    }
    assert found["down"].steps[-1].remedy.endswith("psp up down")
    assert "no end within 3 s" in found["mute"].steps[-1].words
    assert [step.what for step in found["well"].steps] == [
        *("grant", "connection", "health", "clock", "answer")
    ]


def test_a_missing_grant_is_found_before_anybody_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_tenant: Ready, member: str) -> bytes:
        raise EstateError(f"no grant for {member}")

    of = estate(tmp_path, named("a"))
    monkeypatch.setattr(Ready, "token_for", none)
    (found,) = examined(of).values()
    assert last(found) == ("grant", False)
    assert of.host("a").connects == 0
    assert found.to_dict()["steps"][0]["remedy"].endswith("psp up")
