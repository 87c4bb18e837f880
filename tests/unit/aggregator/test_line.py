"""A line to one member: what it remembers of a grant, and what it must forget."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from psp.errors import CallFailed, Denied, Revoked

from .virtual import estate, fleet, named

COUNT = "select count(*) as n, sum(amount) as amount from rows"


@pytest.mark.parametrize("refusal", [Denied(), Revoked()])
def test_after_a_refusal_the_token_that_is_there_then_is_shown(
    tmp_path: Path, refusal: CallFailed
) -> None:
    """The operator may have given another one; a connection that is open must not hide it."""
    of = estate(tmp_path, named("a"))
    of.boxes["a"].failures = [refusal]

    async def main() -> None:
        async with fleet(of) as opened:
            assert (await opened.ask(COUNT)).states == {"refused": 1}
            assert (await opened.ask(COUNT)).states == {"answered": 1}
            assert (await opened.ask(COUNT)).states == {"answered": 1}

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert len(of.boxes["a"].tokens) == 2
    assert of.host("a").connects == 1


def test_a_member_that_hung_for_a_minute_is_asked_again_over_the_same_connection(
    tmp_path: Path,
) -> None:
    """A process that was stopped goes on: what it owes of a grant comes late, and still counts."""
    of = estate(tmp_path, named("a"))

    async def main() -> None:
        async with fleet(of) as opened:
            await opened.status()  # Past the greeting, which may not take so long.
            of.host("a").delay_s = 60.0
            assert (await opened.ask(COUNT, deadline_s=2.0)).states == {"late": 1}
            await trio.sleep(130)  # There and back.
            of.host("a").delay_s = 0.0
            assert (await opened.ask(COUNT)).states == {"answered": 1}

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert of.host("a").connects == 1
