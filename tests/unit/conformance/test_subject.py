"""The runner for subjects: a good one passes every case, a spoilt one fails exactly where it is."""

from __future__ import annotations

from collections.abc import Sequence

import msgpack
import pytest

from psp.conformance import Outcome, is_conformant, run_subject
from psp.errors import Unreachable
from psp.rpc import CallReady

from .peers import TinySubject, served

GIVEN = {"object": "room", "stream": "file", "slow": "wait"}
PATIENT_S = 60.0
BRIEF_S = 0.05


async def tried(
    make: type[TinySubject], name: str = "", *, silent: Sequence[str] = ()
) -> list[Outcome]:
    """Try the cases of a name. Those in which the peer will just say nothing get little time."""
    async with served(make) as dial:
        return [
            *await run_subject(
                dial,
                given=GIVEN,
                chosen=lambda case: case.is_named(name) and case.words not in silent,
                within_s=PATIENT_S,
            ),
            *await run_subject(
                dial, given=GIVEN, chosen=lambda case: case.words in silent, within_s=BRIEF_S
            ),
        ]


def failing(outcomes: list[Outcome]) -> set[str]:
    return {outcome.words for outcome in outcomes if outcome.verdict == "failed"}


async def test_a_subject_on_our_core_passes_every_case() -> None:
    outcomes = await tried(TinySubject)
    assert failing(outcomes) == set()
    assert len(outcomes) > 250
    assert {outcome.verdict for outcome in outcomes} == {"passed"}


async def test_a_case_that_needs_an_unknown_method_is_skipped_with_what_would_try_it() -> None:
    async with served(TinySubject) as dial:
        outcomes = await run_subject(
            dial, given={}, chosen=lambda case: case.is_named("live_subject")
        )
    skipped = [outcome for outcome in outcomes if outcome.verdict == "skipped"]
    assert {outcome.why for outcome in skipped} == {
        f"say --{name} METHOD to try it" for name in GIVEN
    }
    assert is_conformant(outcomes)


async def test_a_subject_that_is_not_there_is_said_so_and_no_case_is_tried() -> None:
    async def dial() -> object:
        raise Unreachable("nobody")

    with pytest.raises(Unreachable):
        await run_subject(dial, given={})  # type: ignore[arg-type]


class TakesTrailingBytes(TinySubject):
    def heard(self, data: bytes) -> bytes:
        unpacker = msgpack.Unpacker(strict_map_key=False)
        unpacker.feed(data[4:])
        try:
            unpacker.skip()
        except (ValueError, msgpack.UnpackException):
            return data
        body = data[4 : 4 + unpacker.tell()]
        return len(body).to_bytes(4, "big") + body


async def test_a_subject_that_takes_trailing_bytes_fails_the_cases_that_have_some() -> None:
    assert failing(await tried(TakesTrailingBytes, "frames_invalid")) == {
        "A byte after the array.",
        "Two frames in one body.",
    }


class AnswersTwice(TinySubject):
    """It says every answer of null twice."""

    def said(self, data: bytes) -> bytes:
        return data * 2 if data[4:] == b"\x94\x11\x01\x00\xc0" else data


async def test_a_subject_that_answers_twice_fails_where_it_did() -> None:
    outcomes = await tried(AnswersTwice, "live_subject")
    assert failing(outcomes) == {
        "Flag 1: the value is not sent.",
        "Flag 1: no reference is made, and calls on the answer work all the same.",
    }
    (first, *_) = [outcome for outcome in outcomes if outcome.verdict == "failed"]
    assert first.why.startswith("it sent RETURN [1, 0, None]; expected PONG")


class IgnoresFinish(TinySubject):
    def heard(self, data: bytes) -> bytes:
        return b"" if data[4:6] == b"\x92\x03" else data


async def test_a_subject_that_ignores_finish_fails_the_cases_about_it() -> None:
    silent = ["FINISH of a question that was never asked."]
    assert failing(await tried(IgnoresFinish, "live_subject", silent=silent)) == {
        "A finished answer is not kept. A call on it is `overloaded`, processed no.",
        *silent,
        "FINISH ends a stream; CREDIT that comes after it is late, and ignored.",
        "What came before the breach has had its effect; what came after it has none.",
    }


class SendsMoreThanItsCredit(TinySubject):
    def said(self, data: bytes) -> bytes:
        if data[4] != 0xC1:
            return data
        return (len(data) - 3).to_bytes(4, "big") + data[4:] + b"!"


async def test_a_subject_that_overruns_its_credit_fails_the_cases_about_streams() -> None:
    failed = failing(await tried(SendsMoreThanItsCredit, "live_subject"))
    assert failed == {
        "A stream sends what it has credit for; CREDIT lets more leave.",
        "FINISH ends a stream; CREDIT that comes after it is late, and ignored.",
        "A null call is answered while a stream waits for its credit.",
    }


class ReachesInside(TinySubject):
    """It finds methods by their names, as Python does."""

    def answer(self, call: CallReady) -> object:  # type: ignore[override]
        if call.method == "__class__":
            return self.core.resolve_value(call, "str")
        return super().answer(call)


async def test_a_subject_that_lets_a_name_reach_inside_fails_that_case() -> None:
    assert failing(await tried(ReachesInside, "live_subject")) == {
        "No method name reaches inside: underscores, dots, attributes of the object."
    }


class ClosesWithoutAWord(TinySubject):
    def said(self, data: bytes) -> bytes:
        return b"" if data[4:6] == b"\x93\x13" else data


async def test_a_subject_may_close_without_an_abort() -> None:
    assert failing(await tried(ClosesWithoutAWord, "frames_invalid")) == set()


class TalksOn(TinySubject):
    """After its ABORT it still says something."""

    def said(self, data: bytes) -> bytes:
        return data + b"\x00\x00\x00\x03\x92\x15\x01" if data[4:6] == b"\x93\x13" else data


async def test_nothing_may_follow_an_abort() -> None:
    outcomes = await tried(TalksOn, "frames_invalid 1")
    assert [outcome.why for outcome in outcomes] == ["it sent PONG [1] after its ABORT"]


class SaysNothing(TinySubject):
    def said(self, data: bytes) -> bytes:
        return b""


async def test_a_silent_subject_fails_in_bounded_time() -> None:
    silent = ["HELLO is answered with HELLO."]
    (outcome,) = await tried(SaysNothing, "live_subject 1", silent=silent)
    assert outcome.why == "it said nothing within 0.05 s"


class Babbles(TinySubject):
    def said(self, data: bytes) -> bytes:
        return b"\x00\x00\x00\x01\xc1\x1b[2J"


async def test_bytes_that_are_no_frame_are_a_failure_and_do_not_reach_the_terminal() -> None:
    (outcome,) = await tried(Babbles, "live_subject 1")
    assert outcome.why.startswith("what it sent is no frame of its side")
    assert "\x1b" not in outcome.to_line()
