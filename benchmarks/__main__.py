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
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from benchmarks import (
    bulk,
    capability,
    fleet,
    imports,
    ingest,
    ledger,
    local,
    profile,
    query,
    rpc,
    wan,
)
from benchmarks._contest import ContestantFailedError
from benchmarks._report import table

BENCHMARKS: Final[Mapping[str, Callable[[], dict[str, object]]]] = {
    "imports": imports.run,
    "rpc": rpc.run,
    "bulk": bulk.run,
    "local": local.run,
    "wan": wan.run,
    "ledger": ledger.run,
    "ingest": ingest.run,
    "capability": capability.run,
    "query": query.run,
    "fleet": fleet.run,
    "profile": profile.run,
}
QUICK: Final[Mapping[str, Callable[[], dict[str, object]]]] = {
    "imports": imports.run,
    "rpc": partial(rpc.run, quick=True),
    "bulk": partial(bulk.run, quick=True),
    "local": partial(local.run, quick=True),
    "wan": partial(wan.run, quick=True),
    "ledger": partial(ledger.run, quick=True),
    "ingest": partial(ingest.run, quick=True),
    "capability": partial(capability.run, quick=True),
    "query": partial(query.run, quick=True),
    "fleet": partial(fleet.run, quick=True),
    "profile": partial(profile.run, quick=True),
}


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
        result = (QUICK if options.quick else BENCHMARKS)[options.name]()
    except ContestantFailedError as exc:
        raise SystemExit(f"no result: {exc}") from None
    print(json.dumps(result) if options.json else table(result))


def plot() -> None:
    # Here, because its libraries are slow to load and no measurement needs them.
    from benchmarks import plot as pictures

    for path in pictures.run():
        print(path)


if __name__ == "__main__":
    main()
