"""Rules of taste that are worth a failing build; the rest is talk."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from psp.cli._app import app

ROOT = Path(__file__).parent.parent
FUNCTION_LINES_MAX = 60  # One screen.
MODULE_LINES_MAX = 400  # Above it there is a second idea that deserves its own room.
SOURCES = sorted((ROOT / "psp").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_fits_in_the_head(path: Path) -> None:
    text = path.read_text("utf-8")
    assert len(text.splitlines()) <= MODULE_LINES_MAX
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_is_left_unfinished(path: Path) -> None:
    text = path.read_text("utf-8")
    for mark in ("TO" + "DO", "FIX" + "ME", "X" + "XX", "NotImplemented" + "Error", "import *"):
        assert mark not in text


def test_no_message_sends_a_user_to_the_strangers_package() -> None:
    """The name `psp` on the registry is somebody else's."""
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        text = path.read_text("utf-8")
        for wrong in ("pip install psp\n", "pip install psp ", "pip install psp[", "'psp["):
            assert wrong not in text, path


def test_every_section_of_the_documents_that_the_code_cites_is_there() -> None:
    for path in SOURCES:
        # A citation may be broken over two lines of a comment.
        text = re.sub(r"\s*\n\s*(# )?", " ", path.read_text("utf-8"))
        for document, section in re.findall(r'\b([a-z-]+)\.md(?:, "([^"\n]+)")?', text):
            headings = (ROOT / "docs" / f"{document}.md").read_text("utf-8")
            assert not section or re.search(f"^#+ {re.escape(section)}$", headings, re.M), path


def test_messages_name_only_commands_that_exist() -> None:
    """A remedy that cannot be typed is worse than none."""
    for path in SOURCES:
        for command in re.findall(r"(?:`|\w: )psp ([a-z]+)", path.read_text("utf-8")):
            assert command in list(app), f"{path}: psp {command}"
