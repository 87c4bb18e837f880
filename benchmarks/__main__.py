"""`python -m benchmarks NAME [--json]`: one benchmark, its ratios and the figures behind them."""

from __future__ import annotations

import argparse
import json

from benchmarks import imports

BENCHMARKS = {"imports": imports.run}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHMARKS), nargs="?", default="imports")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    options = parser.parse_args()
    result = BENCHMARKS[options.name]()
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
