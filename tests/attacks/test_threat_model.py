"""docs/threat-model.md claims nothing that no test tries."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
LINKS = sorted(set(re.findall(r"tests/[\w/]+\.py::\w+", PAGE)))
PARTS = {
    *("A stolen token", "An aggregator", "An archive (Totebox)", "The anchor key", "The root key"),
    *("An operator's console, or the operator's machine", "A witness", "The network"),
}


@pytest.mark.parametrize("link", LINKS)
def test_each_test_that_the_page_names_is_there(link: str) -> None:
    path, name = link.split("::")
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = [
        one.name for one in tree.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert name in functions


def test_each_claim_names_a_test() -> None:
    tables = re.findall(r"\| claim \| test \|\n\|---\|---\|\n((?:\|.*\|\n)+)", PAGE)
    claims = [row for table in tables for row in table.splitlines()]

    assert len(claims) >= 30
    assert [row for row in claims if not re.search(r"`tests/\S+::test_\w+`", row)] == []


def test_each_captured_part_has_its_place_and_its_claims() -> None:
    sections = dict(re.findall(r"^### (.+)\n((?:(?!^#).*\n)+)", PAGE, re.M))

    assert sections.keys() >= PARTS
    assert [name for name, text in sections.items() if "| claim | test |" not in text] == []
