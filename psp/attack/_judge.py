"""Telling a refusal from a breach, and both from everything else that can happen to a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from psp.errors import CallFailed, Denied, PSPError

from ._limits import ANSWER_S
from ._report import Attempt, Verdict

Try: TypeAlias = Callable[[], Awaitable[object]]


async def judge(
    attack: str,
    tried: str,
    attempt: Try,
    *,
    rule: str = "",
    rule_seen_from: str = "outside",
    refusals: tuple[type[PSPError], ...] = (Denied,),
) -> Attempt:
    """Try something that must be refused.

    Args:
        rule: What is to stop it.
        refusals: The errors that mean so; any other one shows nothing.
    """
    try:
        with trio.fail_after(ANSWER_S):
            await attempt()
        verdict, got = Verdict.BREACH, "what was asked for"
    except refusals as exc:
        verdict, got = Verdict.HELD, word_of(exc)
    except trio.TooSlowError:
        verdict, got = Verdict.UNCLEAR, f"no answer within {ANSWER_S:.0f} s"
    except PSPError as exc:
        verdict, got = Verdict.UNCLEAR, word_of(exc)
    return Attempt(
        attack=attack,
        tried=tried,
        got=got,
        verdict=verdict,
        rule=rule if verdict is Verdict.HELD else "",
        rule_seen_from=rule_seen_from,
    )


def word_of(error: PSPError) -> str:
    """Name an error by its word. Its text may be the archive's, and a hostile one's."""
    return error.word if isinstance(error, CallFailed) else type(error).__name__
