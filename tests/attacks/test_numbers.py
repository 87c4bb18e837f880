"""Every attack that this project promises to withstand has a test that says so.

The numbers are those of docs/threat-model.md. A test carries its number at the beginning of its
docstring: "Attack 7: …", or "Attack 7, in part: …" where it tries a piece of one.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TESTS = Path(__file__).parent.parent
NUMBERS: Final = range(1, 22)

NOT_YET: Final = {
    11: "nothing but an epoch ends a grant before its time: revocation while an answer streams",
    15: "there are no budgets of uses that a hundred calls could race for",
    16: "anchors are signed by one root key, and cannot be rotated",
    20: "there is no second verifier to compare with; unknown extensions are tried already",
}
"""What has no test because there is nothing to test. A line whose test has come is removed."""

_NUMBERED = re.compile(r"Attack (\d+): \S")


def numbered_tests() -> Iterator[tuple[int, str]]:
    """Every number that a test's docstring begins with, and where."""
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text("utf-8")
        if not _NUMBERED.search(text):  # Parsing all of them takes seconds.
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                match = _NUMBERED.match(ast.get_docstring(node) or "")
                if match and node.name.startswith("test_"):
                    yield int(match[1]), f"{path.relative_to(TESTS)}::{node.name}"


def test_every_attack_has_a_test_or_a_reason_why_not() -> None:
    found = {number for number, _ in numbered_tests()}

    assert sorted(found | NOT_YET.keys()) == [*NUMBERS]
    came = [where for number, where in numbered_tests() if number in NOT_YET]
    assert not came, f"there is a test now: take its number out of NOT_YET: {came}"
