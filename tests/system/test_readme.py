"""The README's first program runs, and every document that it names is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_program_that_needs_no_archive_runs() -> None:
    (program,) = re.findall(r"^```python\n(import trio\n.*?)^```", README, re.M | re.S)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120
    )
    assert (done.stdout, done.stderr) == ("the archive room\n", "")


def test_the_list_of_documents_is_complete_and_every_link_leads_somewhere() -> None:
    links = set(re.findall(r"\]\(([\w./-]+)\)", README))
    assert {path for path in links if not (ROOT / path).exists()} == set()
    assert {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= links
