"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

# No test fails because a machine was slow: examples are counted here, never timed. `make soak` has
# more of them.
settings.register_profile(
    "psp",
    deadline=None,
    max_examples=int(os.environ.get("PSP_EXAMPLES", "100")),
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
settings.load_profile("psp")

# Archives that tests start would hand results over in the directory of whoever runs them.
os.environ.pop("XDG_RUNTIME_DIR", None)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory for sockets, whose paths have 107 characters at most."""
    with TemporaryDirectory(prefix="psp-") as place:
        yield Path(place)
