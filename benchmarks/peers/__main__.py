"""`python -m benchmarks.peers NAME serve|drive SETTING`: one child process of a benchmark."""

from __future__ import annotations

import importlib
import sys

from benchmarks.peers._child import Setting, end_with_the_parent


def main() -> None:
    name, role, setting = sys.argv[1:]
    if role == "serve":
        end_with_the_parent()
    module = importlib.import_module(f"benchmarks.peers.{name}")
    getattr(module, role)(Setting.from_json(setting))


if __name__ == "__main__":
    main()
