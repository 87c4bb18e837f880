"""Why a member does not answer: one step after the other, up to the one that fails."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import trio

from psp.errors import (
    CallFailed,
    Denied,
    Disconnected,
    EstateError,
    Expired,
    NotPaired,
    PSPError,
    Revoked,
)
from psp.values import Value

from ._limits import CLOCK_APART_S_MAX
from ._line import Line


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried.

    Attributes:
        what: `grant`, `connection`, `health`, `clock` or `answer`.
        remedy: What to do, if it is not well; empty if it is.
        words: What was found; a stranger's words may be in it.
    """

    what: str
    words: str
    remedy: str = ""

    @property
    def is_well(self) -> bool:
        return not self.remedy


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What was found about one member; the steps after a failed one were not tried."""

    member: str
    steps: tuple[Step, ...]

    @property
    def is_well(self) -> bool:
        return all(step.is_well for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The plain form, ready for JSON and for a console."""
        return {
            "member": self.member,
            "well": self.is_well,
            "steps": [
                {"what": it.what, "well": it.is_well, "words": it.words, "remedy": it.remedy}
                for it in self.steps
            ],
        }


async def examine(line: Line, *, deadline_s: float) -> Diagnosis:
    """Try everything that a question needs, over a connection of the fleet."""
    steps: list[Step] = []
    with trio.move_on_after(deadline_s) as scope:
        for step in _STEPS:
            found = await _tried(step, line)
            steps.append(found)
            if not found.is_well and found.what != "clock":  # A wrong clock stops nothing yet.
                break
    if scope.cancelled_caught:
        what = ("grant", "connection", "health", "clock", "answer")[len(steps)]
        words = f"no end within {deadline_s:g} s"
        steps.append(Step(what, words, "look at the load of its machine, or allow more: --within"))
    return Diagnosis(line.member.name, tuple(steps))


async def _tried(step: Callable[[Line], Awaitable[Step]], line: Line) -> Step:
    try:
        return await step(line)
    except PSPError as exc:
        remedy = next(words for kind, words in _REMEDIES if isinstance(exc, kind))
        return Step(_NAMES[step], str(exc), remedy.format(member=line.member.name))


async def _grant(line: Line) -> Step:
    if line.member.is_aggregator:
        return Step("grant", "none is needed: it is an aggregator")
    token = line.token()
    return Step("grant", f"a token of {len(token)} bytes, not expired")


async def _connection(line: Line) -> Step:
    address = (await line.connection()).address
    return Step("connection", f"to {address.host} port {address.port}, both keys as paired")


async def _health(line: Line) -> Step:
    state = str((await _report(line)).get("state", ""))
    if state != "active":
        return Step("health", f"it calls itself {state[:60]!r}", "ask its owner what it needs")
    return Step("health", "active")


async def _clock(line: Line) -> Step:
    told = (await _report(line)).get("time")
    if not isinstance(told, datetime):
        return Step("clock", "it does not tell its time")
    apart_s = abs((told.astimezone(UTC) - datetime.now(UTC)).total_seconds())
    words = f"{apart_s:.0f} s apart from ours"
    if apart_s > CLOCK_APART_S_MAX:
        return Step("clock", words, "set both clocks by NTP: grants begin and end by them")
    return Step("clock", words)


async def _answer(line: Line) -> Step:
    if line.member.is_aggregator:
        connection = await line.connection()
        await connection.bootstrap.call("fleet")
        return Step("answer", "it has a fleet for this machine")

    async def describe(grant: Any) -> Value:
        found: Value = await grant.call("describe")
        return found

    described = await line.ask(describe)
    tables = described.get("tables") if isinstance(described, Mapping) else None
    count = len(tables) if isinstance(tables, list | tuple | Mapping) else 0
    if not count:
        return Step("answer", "the grant shows no table", "have the operator grant one: psp up")
    return Step("answer", f"the grant is accepted and shows {count} tables")


async def _report(line: Line) -> Mapping[str, Value]:
    found = await line.health()
    return found if isinstance(found, Mapping) else {}


_STEPS: Final = (_grant, _connection, _health, _clock, _answer)
_NAMES: Final[Mapping[Callable[[Line], Awaitable[Step]], str]] = {
    _grant: "grant",
    _connection: "connection",
    _health: "health",
    _clock: "clock",
    _answer: "answer",
}
# What to do about an error; the first class that fits decides.
_REMEDIES: Final[tuple[tuple[type[PSPError], str], ...]] = (
    (NotPaired, "pair the two machines: psp pair request, there psp pair approve"),
    (EstateError, "renew the grant where the operator's key is: psp up"),
    (Expired, "renew the grant where the operator's key is: psp up"),
    (Revoked, "its owner has revoked the grant; ask for another"),
    (Denied, "the pairing or the grant does not reach this: ask its owner"),
    (Disconnected, "see whether its machine is on, and its archive served: psp up {member}"),
    (CallFailed, "ask its operator; its own log says more"),
    (PSPError, "ask its operator which release it runs"),
)
