"""Does this controller speak PSP/1? It dials us, once for each case, and asks for `health`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias

import trio

from psp.wire import CALL, Role

from ._cases import Case, from_hex, load
from ._limits import ANSWER_S_DEFAULT, VISIT_S_DEFAULT
from ._line import Line, closing
from ._outcome import Failed, Outcome
from ._script import Names, play

Accept: TypeAlias = Callable[[], Awaitable[trio.abc.Stream]]
Steps: TypeAlias = Sequence[Mapping[str, Any]]

WHAT_TO_DO: Final = (
    "Let the controller do this, again and again: connect, call `health` without arguments on the"
    " bootstrap object (export 0), wait for whatever becomes of the call, close. It is visited by"
    " {cases} cases, one for each connection; most of them are hostile."
)

_GONE: Final = "it did not connect; what came before this case may have ended its program"

_HELLO: Final = [16, 1, {}, [], {"use": "archive_id"}, {"instant": "2026-01-02T03:04:05.000000Z"}]
_ITS_HELLO: Final = {"hear": [[0, "*", "*", "*"]]}
_ITS_CALL: Final = {
    "hear": [[CALL, {"as": "question"}, 0, "*", "*", "*", {"as": "credit"}, "*", "*"]]
}
_GREETED: Final = (_ITS_HELLO, {"say": [_HELLO]}, _ITS_CALL)
_UNGREETED: Final = (_ITS_HELLO, _ITS_CALL)


async def run_controller(
    accept: Accept,
    *,
    archive_id: bytes,
    chosen: Callable[[Case], bool] = lambda case: True,
    within_s: float = ANSWER_S_DEFAULT,
    visit_s: float = VISIT_S_DEFAULT,
    tell: Callable[[Outcome], object] = lambda outcome: None,
) -> list[Outcome]:
    """Try every case against a live controller.

    Args:
        accept: Waits for its next connection; TLS, if any, is done.
        archive_id: 32 bytes: what it believes to reach.
        chosen: Which cases to try.
        within_s: How long one answer may take.
        visit_s: How long to wait for its next connection.
        tell: Takes each outcome as it comes.
    """
    outcomes: list[Outcome] = []
    for case, steps in controller_scripts():
        if not chosen(case):
            continue
        if any(outcome.why == _GONE for outcome in outcomes):
            outcome = Outcome(case.name, case.words, "skipped", "not tried: it no longer connects")
        else:
            outcome = await _try(accept, case, steps, archive_id, within_s, visit_s)
        tell(outcome)
        outcomes.append(outcome)
    return outcomes


def controller_scripts() -> Iterator[tuple[Case, Steps]]:
    """Every case and its steps; one connection each."""
    for case in load("live_controller"):
        start = _UNGREETED if case.data.get("ungreeted") else _GREETED
        yield case, [*start, *case.data["steps"]]
    for case in load("frames_valid"):
        if case.data.get("live") and case.data["receiver"] == Role.CONTROLLER.value:
            # Its own question's id, whatever it counts from.
            kind, _, *rest = case.data["frame"]
            answer = [kind, {"use": "question"}, *rest]
            yield case, [*_GREETED, {"say": [answer]}, {"leaves": True}]
    for case in load("frames_invalid"):
        if case.data["receiver"] == Role.CONTROLLER.value:
            start = _UNGREETED if case.data.get("first") else _GREETED
            yield case, [*start, {"say_hex": _framed(case)}, {"ends": [1]}]


def _framed(case: Case) -> str:
    body = from_hex(case.data["hex"])
    return (len(body).to_bytes(4, "big") + body).hex()


async def _try(
    accept: Accept,
    case: Case,
    steps: Steps,
    archive_id: bytes,
    within_s: float,
    visit_s: float,
) -> Outcome:
    names: Names = {"archive_id": {"bytes": archive_id.hex()}}
    try:
        stream: trio.abc.Stream | None = None
        with trio.move_on_after(visit_s):
            stream = await accept()
        if stream is None:
            raise Failed(_GONE)
        async with closing(stream):
            await play(Line(stream, Role.SUBJECT, within_s=within_s), steps, names)
    except Failed as exc:
        return Outcome(case.name, case.words, "failed", str(exc))
    return Outcome(case.name, case.words, "passed")
