"""Does this subject speak PSP/1? We dial it once for each case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import trio

from psp.errors import Disconnected
from psp.wire import Role

from ._cases import Case, from_hex, load
from ._limits import ANSWER_S_DEFAULT
from ._line import Line, closing
from ._outcome import Failed, Outcome, Skipped
from ._script import play

Dial: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
Steps: TypeAlias = Sequence[Mapping[str, Any]]

METHOD_DEFAULT: Final = "health"

_GREETING: Final[Steps] = (
    {"say": [[0, [1], {}, []]]},
    {"hear": [[16, 1, {"as": "limits"}, "*", "*", "*"]]},
)
_KINDS_ANSWERED: Final = {
    1: lambda frame: [17, frame[1], "*", "*"],
    2: lambda frame: [17, frame[1], "*", "*"],
    6: lambda frame: [21, frame[1]],
}


async def run_subject(
    dial: Dial,
    *,
    given: Mapping[str, str],
    chosen: Callable[[Case], bool] = lambda case: True,
    within_s: float = ANSWER_S_DEFAULT,
    tell: Callable[[Outcome], object] = lambda outcome: None,
) -> list[Outcome]:
    """Try every case against a live subject.

    Args:
        dial: Makes a new connection; TLS, if any, is done.
        given: What the operator knows of the subject's bootstrap object: `method` (takes nothing,
            gives a value), `object` (gives a reference), `stream` (gives a stream of more than 16
            bytes), `slow` (takes nothing, and much longer than `within_s`).
        chosen: Which cases to try.
        within_s: How long one answer may take.
        tell: Takes each outcome as it comes.

    Raises:
        Disconnected: There is no subject to try.
    """
    names = {"method": METHOD_DEFAULT, **given}
    await trio.aclose_forcefully(await dial())  # Nobody there is no verdict on anything.
    outcomes = []
    for case, steps in _scripts():
        if not chosen(case):
            continue
        outcome = await _try(dial, case, steps, names, within_s)
        tell(outcome)
        outcomes.append(outcome)
    return outcomes


def _scripts() -> Iterator[tuple[Case, Steps]]:
    for case in load("live_subject"):
        yield (
            case,
            case.data["steps"]
            if case.data.get("ungreeted")
            else [
                *_GREETING,
                *case.data["steps"],
            ],
        )
    for case in load("frames_valid"):
        if case.data.get("live") and case.data["receiver"] == Role.SUBJECT.value:
            frame = case.data["frame"]
            yield case, [*_GREETING, *_lawful(case, _KINDS_ANSWERED[frame[0]](frame))]
    for case in load("frames_invalid"):
        if case.data["receiver"] == Role.SUBJECT.value:
            breach: Steps = [{"say_hex": _framed(case)}, {"ends": [1]}]
            yield case, breach if case.data.get("first") else [*_GREETING, *breach]


def _lawful(case: Case, answer: Sequence[Any]) -> Steps:
    return [{"say_hex": _framed(case)}, {"hear": [answer]}, {"alive": True}]


def _framed(case: Case) -> str:
    body = from_hex(case.data["hex"])
    return (len(body).to_bytes(4, "big") + body).hex()


async def _try(
    dial: Dial, case: Case, steps: Steps, names: Mapping[str, Any], within_s: float
) -> Outcome:
    try:
        for need in case.data.get("needs", ()):
            if need not in names:
                raise Skipped(f"say --{need} METHOD to try it")
        async with closing(await dial()) as stream:
            line = Line(stream, Role.CONTROLLER, within_s=within_s)
            await play(line, steps, dict(names))
    except Skipped as exc:
        return Outcome(case.name, case.words, "skipped", str(exc))
    except Failed as exc:
        return Outcome(case.name, case.words, "failed", str(exc))
    except Disconnected as exc:
        return Outcome(case.name, case.words, "failed", f"it took no connection: {exc}")
    return Outcome(case.name, case.words, "passed")
