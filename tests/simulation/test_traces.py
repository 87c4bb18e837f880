"""Traces of runs that once failed, and the proof that a trace is a test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from psp.rpc import Controller, QuestionId

from .trace import RunFailed, simulate
from .world import replay


def test_a_failing_run_prints_a_test_that_fails_likewise_and_needs_no_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Controller, "finish", forgets_every_third(Controller.finish))
        with pytest.raises(RunFailed) as failed:
            simulate_many(20)
        source = str(failed.value)
        names: dict[str, object] = {"replay": replay}
        exec(source[source.index("def ") :], names)
        test = next(it for name, it in names.items() if name.startswith("test_"))
        with pytest.raises(AssertionError):
            test()  # type: ignore[operator]

    test()  # type: ignore[operator]  # Without the fault the same steps break no law.
    assert source.count("\n") < 60, "what does not matter was left out"


def simulate_many(seeds: int) -> None:
    for seed in range(seeds):
        simulate(seed)


Finish = Callable[[Controller, QuestionId], None]


def forgets_every_third(finish: Finish) -> Finish:
    def forgetful(self: Controller, question: QuestionId) -> None:
        if question % 3:
            finish(self, question)

    return forgetful


def test_a_run_without_a_fault_prints_nothing() -> None:
    simulate(0)


# Runs that failed once, as they were printed.


def test_a_call_behind_one_whose_argument_fails_does_not_overtake() -> None:
    """Seed 7718. 6 and 7 become ready together; answering 6 fails 8, which lets 9 go before 7."""
    replay(
        [
            ("connect",),
            ("call", 0, 0, "later", [], {}),
            ("call", 0, 0, "object", [("promise", (1, ("list", 0)))], {}),
            ("call", 0, 0, "value", [], {}),
            ("call", 0, 0, "stream", [("promise", (2, ("no",)))], {}),
            ("call", 0, 0, "object", [], {}),
            ("drain", 0),
        ]
    )


def test_a_stream_given_up_while_a_call_names_it_comes_to_rest() -> None:
    """Seed 13. The call waited for the stream, and the stream for credit that nobody gave."""
    replay(
        [
            ("connect",),
            ("call", 0, 0, "stream", [], {"accept_bytes": 30}),
            ("call", 0, (1, ()), "later", [("promise", (1, ("a",)))], {}),
            ("flush", 0),
            ("to_subject", 0, 134),
            ("offer", 0, 1, 70000),
            ("finish", 0, 1),
            ("drain", 0),
        ]
    )


def test_a_text_that_fits_no_frame_is_no_error_of_the_shell() -> None:
    """Seed 15."""
    replay(
        [
            ("connect",),
            ("call", 0, 0, "large", [], {"no_pipelining": True}),
            ("flush", 0),
            ("to_subject", 0, 247),
            ("drain", 0),
        ]
    )
