"""docs/testing.md holds what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import psp.testing

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "testing.md").read_text("utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL))
def test_the_examples_of_the_page_run(block: str) -> None:
    exec(block, {})


def test_the_page_names_every_helper() -> None:
    helpers = {name for name in vars(psp.testing) if name[0].isupper() or name == "loopback"}
    assert {name for name in helpers if f"`{name}" not in PAGE} <= {"Way", "Loopback"}


def test_the_files_that_the_page_names_are_there() -> None:
    for name in re.findall(r"`(tests/[\w/.]+|test_\w+\.py)`", PAGE):
        assert (ROOT / name).exists() or (ROOT / "tests" / "attacks" / name).exists(), name
