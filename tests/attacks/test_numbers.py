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
PAGE = (TESTS.parent / "docs" / "threat-model.md").read_text("utf-8")
NUMBERS: Final = range(1, 22)

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


def test_every_attack_has_a_test() -> None:
    assert sorted({number for number, _ in numbered_tests()}) == [*NUMBERS]


def test_the_page_says_what_each_number_is_and_names_a_test_of_it() -> None:
    rows = re.findall(r"^\| (\d+) \| [^|]{10,} \| `tests/(\S+)` \|$", PAGE, re.MULTILINE)
    named = [(int(number), test) for number, test in rows]

    assert [number for number, _ in named] == [*NUMBERS]
    assert set(named) <= set(numbered_tests())
