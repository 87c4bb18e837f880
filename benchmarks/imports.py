"""What `import psp` adds to `import trio`: whole processes, taken in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

SAMPLES = 21
QUICK_SAMPLES = 3

PROGRAMS = {
    "trio": "import trio",
    "trio_and_psp": "import trio, psp",
    # Names are loaded when they are first used: this is what a program that uses all of them pays.
    "trio_and_every_name": "import trio, psp\nfor name in psp.__all__: getattr(psp, name)",
}


def run(*, quick: bool = False) -> dict[str, object]:
    """Time the imports in fresh interpreters; give ratios and differences of the medians."""
    taken: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(QUICK_SAMPLES if quick else SAMPLES):
        for name, program in PROGRAMS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True)
            taken[name].append((time.perf_counter() - start) * 1000)
    medians = {name: statistics.median(times) for name, times in taken.items()}
    return {
        "benchmark": "imports",
        "ratios": {
            f"{name}_vs_trio": round(medians[name] / medians["trio"], 3)
            for name in ("trio_and_psp", "trio_and_every_name")
        },
        "figures": {
            "median_ms": {name: round(median, 1) for name, median in medians.items()},
            "added_ms": round(medians["trio_and_psp"] - medians["trio"], 1),
            "added_by_every_name_ms": round(medians["trio_and_every_name"] - medians["trio"], 1),
            "spread_ms": {n: [round(min(t), 1), round(max(t), 1)] for n, t in taken.items()},
        },
        "limits": {"added_ms": 40},
    }
