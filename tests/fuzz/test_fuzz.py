"""The fuzz targets: a short run each, their corpus, and proof that they would notice."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from psp.rpc import BOOTSTRAP, Controller, ControllerEvent, Subject
from psp.testing import frame_bytes
from psp.wire import Role

from . import controller_target, subject_target
from .driver import Target
from .make_corpus import CORPUS
from .mutation import mutate, split

ROOT = Path(__file__).parent.parent.parent
SECONDS = 20
TARGETS: dict[str, tuple[Target, Role]] = {
    "controller": (controller_target.check, controller_target.SENDER),
    "subject": (subject_target.check, subject_target.SENDER),
}
INPUTS = [(name, path) for name in TARGETS for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize(("name", "path"), INPUTS, ids=lambda it: getattr(it, "name", it))
def test_what_was_found_once_stays_harmless(name: str, path: Path) -> None:
    TARGETS[name][0](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_a_thousand_neighbours_of_lawful_sessions_are_harmless(name: str) -> None:
    target, sender = TARGETS[name]
    chance = Random(1)
    inputs = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    for _ in range(1000):
        target(mutate(chance.choice(inputs), 4096, chance, sender))


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[], ["--by-chance"]], ids=["coverage", "chance"])
@pytest.mark.parametrize("name", TARGETS)
def test_no_bytes_break_a_law(name: str, arguments: list[str], tmp_path: Path) -> None:
    """Guided by coverage where atheris is installed. The input that breaks a law is printed."""
    seconds = SECONDS if not arguments else SECONDS // 4
    found = tmp_path / "found"
    found.mkdir()
    done = subprocess.run(
        [
            # By way of a small process: the kernel hands the peak memory of the one that forks down
            # through exec (setmax_mm_hiwater_rss in fs/exec.c), and libFuzzer would hold that of
            # this test run against its own limit.
            *("setsid", "--fork", "--wait"),
            *(sys.executable, "-m", "tests.fuzz", name, "-seed=1", *arguments),
            *(f"-max_total_time={seconds}", f"-artifact_prefix={tmp_path}/"),
            *(str(found), str(CORPUS / name)),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    crashes = [path.read_bytes() for path in tmp_path.glob("crash-*")]
    assert (done.returncode, crashes) == (0, []), done.stderr[-4000:]
    assert re.search(r"Done \d{2,} runs", done.stderr), done.stderr[-2000:]


def test_mutation_keeps_the_framing_most_of_the_time() -> None:
    chance = Random(1)
    data = (CORPUS / "subject" / "a_chain").read_bytes()
    kept = sum(
        all(len(frame) >= 4 and len(frame) == 4 + int.from_bytes(frame[:4], "big") for frame in it)
        for it in (split(mutate(data, 4096, chance, Role.CONTROLLER)[2:]) for _ in range(200))
    )
    assert 120 < kept < 200


def test_a_controller_that_obeys_a_subject_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    lawful = Controller.receive

    def obeys(self: Controller, data: bytes) -> list[ControllerEvent]:
        events = lawful(self, data)
        if b"please" in data:
            self.call(BOOTSTRAP, "obey", [], remaining_ms=1)
        return events

    monkeypatch.setattr(Controller, "receive", obeys)
    with pytest.raises(AssertionError, match="made a controller say"):
        controller_target.check(b"\x02\x00" + frame_bytes([17, 2, 0, "please"]))


def test_a_subject_that_leaks_a_slot_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Subject, "calls_in_flight", property(lambda _: 1))
    with pytest.raises(AssertionError):
        subject_target.check((CORPUS / "subject" / "a_call").read_bytes())
