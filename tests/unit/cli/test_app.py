"""The tree of commands: what it lists, and what it imports for one of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from psp.cli._app import COMMANDS, GROUPS, app


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
def test_a_list_of_commands_says_what_each_does(asked: list[str]) -> None:
    listed = run(f"import sys; sys.argv = ['psp', *{asked}]; from psp.cli import main\nmain()")

    group = "grant " if asked[:1] == ["grant"] else ""
    names = {
        words.removeprefix(group).partition(" ")[0] for words in COMMANDS if words.startswith(group)
    }
    for name in names | (set() if group else GROUPS.keys()):
        (line,) = (it for it in listed.splitlines() if it.startswith(f"│ {name} "))
        assert len(line.strip("│ ").split()) > 3, line
