"""The examples, run as a reader would run them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from psp.estate import create_estate, draft_estate

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_five_hops_cost_one_round_trip_and_the_proof_holds() -> None:
    done = subprocess.run(
        [sys.executable, EXAMPLES / "pipelining.py"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "contract of parcel 417: entry 417 of 1000, proven",
        "five hops, 1 round trip",
    ]


@contextmanager
def uvicorn(estate: Path) -> Iterator[str]:
    """The FastAPI example on a port of its own, until the block is left; gives its address."""
    serving = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--port=0", f"--app-dir={EXAMPLES}"],
        env={**os.environ, "ESTATE": str(estate), "PYTHONWARNINGS": "default::ResourceWarning"},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert serving.stderr is not None
    try:
        said = ""
        while not (found := re.search(r"running on (http://\S+)", said)):
            said += (line := serving.stderr.readline())
            assert line, said
        yield found[1]
    finally:
        serving.send_signal(signal.SIGINT)
        _, said = serving.communicate(timeout=30)
    assert "Traceback" not in said
    assert "Warning" not in said


def test_a_fastapi_program_of_under_forty_lines_serves_an_archives_answer(
    tmp_path: Path, files: list[Path]
) -> None:
    assert len((EXAMPLES / "fastapi_app.py").read_text("utf-8").splitlines()) < 40
    estate = create_estate(draft_estate(tmp_path / "homes", files))
    with estate.serve(), uvicorn(estate.layout.file) as address:
        for _ in range(2):  # The second comes over the same connection.
            with urllib.request.urlopen(f"{address}/homes/count/signed") as reply:
                answer = json.load(reply)
            assert answer
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{address}/nothing/count/signed")
        with refused.value:
            assert json.load(refused.value)["detail"].startswith("denied: ")
