"""The tree of commands: what it lists, and what it imports for one of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from psp.cli._app import COMMANDS, GROUPS, app
from tests.system import warm


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("words", COMMANDS)
def test_every_command_is_where_the_tree_says_and_has_first_words(words: str) -> None:
    found = app
    for word in words.split():
        found = found[word]

    assert found.help


def test_the_version_is_told_without_the_libraries_of_an_archive() -> None:
    loaded = run(
        "import sys; sys.argv = ['psp', '--version']; from psp.cli import main\n"
        "try: main()\nfinally: print(*sys.modules)"
    ).split()

    assert "psp.cli._app" in loaded
    assert not {"trio", "apsw", "cryptography", "psp.totebox"} & set(loaded)


@pytest.mark.parametrize("asked", [[], ["--help"], ["grant"], ["grant", "-h"]])
def test_a_list_of_commands_says_what_each_does(asked: list[str], tmp_path: Path) -> None:
    streams = [tmp_path / name for name in ("in", "out", "err")]
    for path in streams:
        path.touch()
    # A list imports every command: more than a second for whoever starts from nothing.
    assert not warm.run(asked, cwd=tmp_path, streams=streams, environment=dict(os.environ))
    listed = streams[1].read_text("utf-8")

    group = "grant " if asked[:1] == ["grant"] else ""
    names = {
        words.removeprefix(group).partition(" ")[0] for words in COMMANDS if words.startswith(group)
    }
    for name in names | (set() if group else GROUPS.keys()):
        (line,) = (it for it in listed.splitlines() if it.startswith(f"│ {name} "))
        assert len(line.strip("│ ").split()) > 3, line
