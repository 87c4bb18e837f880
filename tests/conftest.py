"""What holds for every test."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No test fails because a machine was slow: examples are counted here, never timed.
settings.register_profile(
    "psp", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("psp")
