"""The runner for controllers: a good one passes every case, a spoilt one fails where it is."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from psp.conformance import Case, Outcome, controller_scripts, listens_plain, run_controller
from psp.rpc import BOOTSTRAP

from .peers import ARCHIVE_ID, TinyController, visits
from .test_subject import BRIEF_S, PATIENT_S, TakesTrailingBytes, failing


async def tried(
    make: type[TinyController], name: str = "", *, silent: Sequence[str] = ()
) -> list[Outcome]:
    """Try the cases of a name. Those in which the peer will just say nothing get little time."""
    outcomes = []
    async with listens_plain("127.0.0.1", 0) as (accept, port), trio.open_nursery() as nursery:
        nursery.start_soon(visits, make, "127.0.0.1", port)
        for is_silent, within_s in ((False, PATIENT_S), (True, BRIEF_S)):

            def is_chosen(case: Case, is_silent: bool = is_silent) -> bool:
                return case.is_named(name) and (case.words in silent) is is_silent

            outcomes += await run_controller(
                accept,
                archive_id=ARCHIVE_ID,
                chosen=is_chosen,
                within_s=within_s,
                visit_s=PATIENT_S,
            )
        nursery.cancel_scope.cancel()
    return outcomes


async def test_a_controller_on_our_core_passes_every_case() -> None:
    outcomes = await tried(TinyController)
    assert failing(outcomes) == set()
    assert len(outcomes) == sum(1 for _ in controller_scripts()) > 140


class Trailing(TinyController):
    def heard(self, data: bytes) -> bytes:
        return TakesTrailingBytes.heard(self, data)  # type: ignore[arg-type]


async def test_a_controller_that_takes_trailing_bytes_fails_the_cases_that_have_some() -> None:
    # What is left of both is a lawful GOAWAY, and so nothing ends.
    silent = ["A byte after the array.", "Two frames in one body."]
    assert failing(await tried(Trailing, "frames_invalid", silent=silent)) == set(silent)


class Obeys(TinyController):
    """It answers a PING, as if the other side might ask."""

    def heard(self, data: bytes) -> bytes:
        self.pinged = data[4:] == b"\x92\x06\x01"
        return data

    def said(self, data: bytes) -> bytes:
        return b"\x00\x00\x00\x03\x92\x06\x01" + data if getattr(self, "pinged", False) else data


async def test_a_controller_that_does_what_a_subject_says_fails_that_case() -> None:
    outcomes = await tried(Obeys, "frames_invalid")
    assert failing(outcomes) == {"A controller's PING sent by the subject: it has no such kind."}
    (failed,) = [outcome for outcome in outcomes if outcome.verdict == "failed"]
    assert failed.why == "it sent PING [1]; expected ABORT, or the end of the connection"


class TakesAnyReturn(TinyController):
    """It shrugs at a RETURN for a question that it never asked."""

    def heard(self, data: bytes) -> bytes:
        return b"" if data[4:7] == b"\x94\x11\xcf" else data


async def test_a_controller_that_takes_answers_to_nothing_fails_those_cases() -> None:
    silent = [
        "A RETURN for a question that was never asked.",
        "A reference for a question that was never asked.",
    ]
    assert failing(await tried(TakesAnyReturn, "live_controller", silent=silent)) == set(silent)


class CallsTwice(TinyController):
    def said(self, data: bytes) -> bytes:
        if data[4:6] == b"\x94\x00":
            self.core.call(BOOTSTRAP, "health", remaining_ms=1)
            return data + self.core.data_to_send()
        return data


async def test_a_controller_that_asks_more_than_it_was_told_is_told_again() -> None:
    (outcome,) = await tried(CallsTwice, "live_controller 1")
    assert outcome.why == "it asked a second question; make it ask `health` once and close"


async def test_a_controller_that_never_comes_fails_one_case_and_the_rest_is_not_tried() -> None:
    async with listens_plain("127.0.0.1", 0) as (accept, _):
        outcomes = await run_controller(accept, archive_id=ARCHIVE_ID, visit_s=BRIEF_S)
    assert [outcome.verdict for outcome in outcomes[:2]] == ["failed", "skipped"]
    assert {outcome.verdict for outcome in outcomes[1:]} == {"skipped"}


class Babbles(TinyController):
    """It gives back the same answer for ever."""

    def said(self, data: bytes) -> bytes:
        return data + b"\x00\x00\x00\x04\x92\x03\x91\x01" * 1_000

    async def visit(self, stream: trio.abc.Stream) -> None:
        await super().visit(stream)
        await trio.sleep_forever()


async def test_a_controller_that_babbles_fails_in_bounded_time() -> None:
    (outcome,) = await tried(Babbles, "live_controller 1")
    assert outcome.why == "it sent 100 frames and did not close"
