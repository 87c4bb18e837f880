"""What holds for every test."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

# Hundreds of processes are started here, with these variables. Where Python is told to keep nothing
# compiled, as in many containers, each of them would compile every module anew for a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No test fails because a machine was slow: examples are counted here, never timed. They are others
# in each run, and `make soak` has ten times as many.
settings.register_profile(
    "psp",
    deadline=None,
    max_examples=int(os.environ.get("PSP_EXAMPLES", "50")),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("psp")

# Archives that tests start would hand results over in the directory of whoever runs them.
os.environ.pop("XDG_RUNTIME_DIR", None)


def pytest_collection_finish() -> None:
    """Set aside what 8,000 tests are made of, so that no collection walks over it again.

    Some tests collect in a loop; and what a collection walks over, a fork has to copy.
    """
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Give it back: DuckDB's and others' extensions count what is left at the end."""
    gc.unfreeze()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory for sockets, whose paths have 107 characters at most."""
    with TemporaryDirectory(prefix="psp-") as place:
        yield Path(place)
