"""`psp console` in a terminal: it draws, leaves by key or Ctrl-C, and leaves it clean."""

from __future__ import annotations

import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from .conftest import Ran
from .test_aggregator_command import make_estate


@pytest.mark.parametrize(("key", "status"), [("q", 0), ("\x03", 130)])
def test_it_shows_who_is_away_and_gives_the_terminal_back(
    tmp_path: Path, key: str, status: int
) -> None:
    make_estate(tmp_path)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "psp", "console", "--estate", str(tmp_path), "--every", "0.1"],
        dimensions=(24, 80),
        timeout=30,
        encoding="utf-8",
    )
    before = termios.tcgetattr(child.child_fd)
    child.expect_exact("\x1b[?1049h")  # The alternate screen: what was there comes back.
    child.expect_exact("0 of 1 there")
    child.expect_exact("unreachable")
    child.expect_exact("gone")
    child.send(key)
    child.expect_exact("\x1b[?1049l")
    last = str(child.before) + child.read()
    assert last.rindex("\x1b[?25h") > last.rfind("\x1b[?25l")  # The cursor is seen again.
    assert "Traceback" not in last
    assert termios.tcgetattr(child.child_fd)[:4] == before[:4]  # Echo, lines and signals.
    child.close()
    assert child.exitstatus == status


def test_without_a_terminal_it_says_what_to_do_instead(psp: Callable[..., Ran]) -> None:
    done = psp("console", "--estate", "nowhere")
    assert done.status == 1
    assert "psp status --json" in done.sentence
