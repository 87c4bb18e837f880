"""docs/api.md, run from the top to the bottom, and its names held against the front door."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import psp

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")


def test_every_block_of_the_page_runs_one_after_the_other(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    program = tmp_path / "page.py"
    program.write_text("\n".join(blocks), "utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", program], capture_output=True, text=True, timeout=120
    )
    assert len(blocks) == PAGE.count("```python")
    assert (done.returncode, done.stderr) == (0, "")


def test_every_name_of_the_front_door_that_the_page_imports_is_public() -> None:
    imported = re.findall(r"^from psp import (.+)$", PAGE, re.MULTILINE)
    names = {name.strip() for line in imported for name in line.split(",")}
    assert names <= set(psp.__all__)
    assert {"Stub", "aio", "blocking", "spans"} <= names
