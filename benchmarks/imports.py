"""What `import psp` costs beside `import trio`: whole processes, taken in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

SAMPLES = 21


def run() -> dict[str, object]:
    """Time both imports in fresh interpreters; give the ratio and the difference of the medians."""
    taken: dict[str, list[float]] = {"trio": [], "psp": []}
    for _ in range(SAMPLES):
        for module, times in taken.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
            times.append((time.perf_counter() - start) * 1000)
    medians = {module: statistics.median(times) for module, times in taken.items()}
    return {
        "benchmark": "imports",
        "ratios": {"import_psp_vs_trio": round(medians["psp"] / medians["trio"], 3)},
        "figures": {
            "import_trio_ms": round(medians["trio"], 1),
            "import_psp_ms": round(medians["psp"], 1),
            "added_ms": round(medians["psp"] - medians["trio"], 1),
            "spread_ms": {m: [round(min(t), 1), round(max(t), 1)] for m, t in taken.items()},
        },
        "limits": {"added_ms": 40},
    }
