"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

# No test fails because a machine was slow: examples are counted here, never timed.
settings.register_profile(
    "psp", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("psp")


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory for sockets, whose paths have 107 characters at most."""
    with TemporaryDirectory(prefix="psp-") as place:
        yield Path(place)
