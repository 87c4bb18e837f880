"""Fuzz one of the cores:

    python -m tests.fuzz controller -max_total_time=60 FOUND tests/fuzz/corpus/controller

FOUND is a directory for what the fuzzer finds worth keeping; options are libFuzzer's.
"""

from __future__ import annotations

import contextlib
import importlib
import sys

name = sys.argv.pop(1)
# No wheel for this platform, or not wanted: the driver mutates by chance, and needs no coverage.
with contextlib.suppress(ModuleNotFoundError):
    if "--by-chance" not in sys.argv:
        import atheris

        # Only what is imported here reports its coverage: the cores, and what they are made of. To
        # rewrite the rest, which no input reaches, would take five seconds of each run.
        with atheris.instrument_imports(include=["psp"]):
            importlib.import_module("psp.rpc")

target = importlib.import_module(f"tests.fuzz.{name}_target")
driver = importlib.import_module("tests.fuzz.driver")

driver.run(sys.argv, target.check, target.SENDER)
