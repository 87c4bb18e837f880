"""`python -m benchmarks NAME [--json] [--quick]`: one benchmark, its ratios and its figures.

imports   what `import psp` adds to a program
rpc       calls on one machine, beside pycapnp, gRPC, Arrow Flight and a bare TLS socket
wan       calls over a distance of 80 ms, in round trips
bulk      large results over TLS, beside Arrow Flight, gRPC, trio.SSLStream and a bare socket
local     results handed over on one machine, beside one write and Flight over a Unix socket
ledger    appending and opening, beside hashing and one sync
ingest    a real table sealed, checked and indexed, beside DuckDB reading it
fleet     a thousand members asked at once, beside one; their answers combined, beside DuckDB
capability  grants verified, refused and met, beside bare signatures and Biscuit
query     rows and groups of a whole archive, beside null calls and bare SQL; 200 ordinary questions
          with the audit of answers, beside the same without
profile   where the time of a null call goes
plot      writes the pictures and tables of docs/performance.md from benchmarks/results
"""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from typing import Any, Final

from benchmarks._contest import ContestantFailedError
from benchmarks._report import table

BENCHMARKS: Final = (
    *("imports", "rpc", "bulk", "local", "wan", "ledger", "ingest", "capability", "query", "fleet"),
    "profile",
)
"""Modules here. One is imported when it is asked for: some need peers that are not installed."""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=[*BENCHMARKS, "plot"], nargs="?", default="imports")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument(
        "--quick", action="store_true", help="a short run: it works, but its numbers mean nothing"
    )
    options = parser.parse_args()
    if options.name == "plot":
        plot()
        return
    try:
        result = run(options.name, quick=options.quick)
    except ContestantFailedError as exc:
        raise SystemExit(f"no result: {exc}") from None
    print(json.dumps(result) if options.json else table(result))


def run(name: str, *, quick: bool) -> dict[str, object]:
    """Run one benchmark."""
    result: dict[str, object] = module(name).run(quick=quick)
    return result


def plot() -> None:
    """Write the pictures."""
    for path in module("plot").run():
        print(path)


def module(name: str) -> Any:
    return import_module(f"benchmarks.{name}")


if __name__ == "__main__":
    main()
