"""Run a target: under atheris, guided by coverage, where that is installed; by chance elsewhere."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

from psp.wire import Role

from .mutation import mutate

Target = Callable[[bytes], None]

MAX_BYTES = 8 * 1024
"""Longest input tried. Longer ones are for tests/attacks, which know what they are after."""

with contextlib.suppress(ModuleNotFoundError):
    import atheris  # No wheel on every platform.


def run(argv: list[str], target: Target, sender: Role) -> None:
    """Fuzz until the time given in `argv` is over; an input that breaks a law ends the process."""
    if "atheris" in globals() and "--by-chance" not in argv:
        _run_atheris(argv, target, sender)
    else:
        _run_by_chance(argv, target, sender)


def _run_atheris(argv: list[str], target: Target, sender: Role) -> None:
    def mutator(data: bytes, max_size: int, seed: int) -> bytes:
        chance = Random(seed)
        # One in eight without any idea of frames, as libFuzzer would.
        if chance.randrange(8) == 0:
            return atheris.Mutate(data, len(data) or 1)  # type: ignore[no-any-return]
        return mutate(data, max_size, chance, sender)

    atheris.Setup(
        [*argv, f"-max_len={MAX_BYTES}", "-timeout=120", "-rss_limit_mb=1024"],
        target,
        custom_mutator=mutator,
    )
    atheris.Fuzz()


def _run_by_chance(argv: list[str], target: Target, sender: Role) -> None:
    """The same loop without coverage: slower to find what is deep, but the laws are the same."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--by-chance", action="store_true")
    parser.add_argument("-seed", type=int, default=1)
    parser.add_argument("-max_total_time", type=float, default=10.0)
    parser.add_argument("-artifact_prefix", default="./")
    parser.add_argument("corpus", nargs="*", type=Path)
    chosen, _ = parser.parse_known_args(argv[1:])
    inputs = [path.read_bytes() for at in chosen.corpus for path in sorted(at.iterdir())] or [b""]
    chance, end_s, runs = Random(chosen.seed), time.monotonic() + chosen.max_total_time, 0
    for data in inputs:
        target(data)
    while time.monotonic() < end_s:
        data = chance.choice(inputs)
        for _ in range(chance.randrange(1, 5)):
            data = mutate(data, MAX_BYTES, chance, sender)
        try:
            target(data)
        except BaseException:
            Path(f"{chosen.artifact_prefix}crash-by-chance").write_bytes(data)
            raise
        runs += 1
    sys.stderr.write(f"Done {runs} runs by chance\n")
