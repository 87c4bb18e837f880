"""`python -m benchmarks NAME [--json] [--quick]`: one benchmark, its ratios and its figures.

imports   what `import psp` adds to a program
rpc       calls on one machine, beside pycapnp, gRPC, Arrow Flight and a bare TLS socket
wan       calls over a distance of 80 ms, in round trips
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from benchmarks import imports, rpc, wan
from benchmarks._report import table

BENCHMARKS: Final[Mapping[str, Callable[[], dict[str, object]]]] = {
    "imports": imports.run,
    "rpc": rpc.run,
    "wan": wan.run,
}
QUICK: Final[Mapping[str, Callable[[], dict[str, object]]]] = {
    "rpc": partial(rpc.run, quick=True),
    "wan": partial(wan.run, quick=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=sorted(BENCHMARKS), nargs="?", default="imports")
    parser.add_argument("--json", action="store_true", help="one JSON object on one line")
    parser.add_argument(
        "--quick", action="store_true", help="a short run: it works, but its numbers mean nothing"
    )
    options = parser.parse_args()
    chosen = {**BENCHMARKS, **QUICK} if options.quick else BENCHMARKS
    result = chosen[options.name]()
    print(json.dumps(result) if options.json else table(result))


if __name__ == "__main__":
    main()
