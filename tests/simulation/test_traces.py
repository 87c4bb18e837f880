"""Traces of runs that once failed, and the proof that a trace is a test."""

from __future__ import annotations

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


def forgets_every_third(finish):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    def forgetful(self: Controller, question: QuestionId) -> None:
        if question % 3:
            finish(self, question)

    return forgetful


def test_a_run_without_a_fault_prints_nothing() -> None:
    simulate(0)
