"""Fuzz one of the cores:

    python -m tests.fuzz controller -max_total_time=60 FOUND tests/fuzz/corpus/controller

FOUND is a directory for what the fuzzer finds worth keeping; options are libFuzzer's.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

try:
    import atheris
except ModuleNotFoundError:  # No wheel for this platform: the driver mutates by chance.
    watched = contextlib.nullcontext()
else:
    # Only what is imported here reports its coverage.
    watched = atheris.instrument_imports(include=["psp"])

name = sys.argv.pop(1)
with watched:
    target = importlib.import_module(f"tests.fuzz.{name}_target")
    driver = importlib.import_module("tests.fuzz.driver")

driver.run(sys.argv, target.check, target.SENDER)
