"""Many controllers and subjects, from one seed each. `PSP_SEEDS=5000` makes the run longer."""

from __future__ import annotations

import gc
import os
from collections import Counter

import pytest

from .trace import simulate

SEEDS = int(os.environ.get("PSP_SEEDS", "300"))
FIRST_SEED = int(os.environ.get("PSP_FIRST_SEED", "0"))
BATCH = 20


@pytest.mark.slow
@pytest.mark.parametrize("first", range(FIRST_SEED, FIRST_SEED + SEEDS, BATCH))
def test_every_run_ends_with_empty_tables_and_each_question_ended_once(first: int) -> None:
    for seed in range(first, first + BATCH):
        simulate(seed)


def count_cores() -> Counter[str]:
    gc.collect()
    kinds = (type(found) for found in gc.get_objects())
    return Counter(
        kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("psp.rpc")
    )


def test_nothing_of_a_connection_outlives_it() -> None:
    simulate(0)  # What is made once for all is made now.
    before = count_cores()
    for seed in range(1, 6):
        simulate(seed)

    assert count_cores() - before == Counter()
