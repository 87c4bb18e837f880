"""What an archive's process says to the one that started it, when somebody else's code is in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from psp.estate._supervisor import _Child, _relay


@contextmanager
def planted() -> Iterator[tuple[_Child, int]]:
    """A process that goes on until it is killed, and the end at which it speaks."""
    reader, writer = os.pipe()
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            yield _Child(name="box", pid=process.pid, status=reader, hand_over=None), writer
        finally:
            os.close(reader)
            process.kill()


def heard(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_whatever_an_archive_says_its_supervisor_goes_on_and_believes_nothing_of_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with planted() as (child, writer):
        for line in (
            *(b"", b"{", b"\xff\xfe", b"[]", b"7", b"null", b'"log"', b"[" * 40_000, b"{}"),
            *(b'{"event": "ended", "status": 0}', b'{"event": "log"}', b'{"event": ["log"]}'),
            *(b'{"event": "log", "text": 7}', b'{"event": "failed", "text": null}'),
        ):
            os.write(writer, line + b"\n")
            assert _relay(child)
            assert heard(capsys) == [], line
        os.write(writer, b'{"event": "log", "member": "other", "text": "%s"}\n' % (b"x" * 9_000))
        os.write(writer, b'{"event": "ready", "member": "other", "pid": 1}\n')
        assert _relay(child)
        assert heard(capsys) == [
            {"event": "log", "text": "x" * 600, "member": "box"},
            {"event": "ready", "pid": child.pid, "member": "box"},
        ]
        os.close(writer)
        # It has closed its pipe and goes on: whoever waits for its end would wait for a minute.
        assert not _relay(child)
        assert heard(capsys) == [{"member": "box", "event": "ended", "status": -9}]


STUBBORN = """
import os, signal, time
import psp.estate._supervisor as supervisor

def be_archive(member, hand_over, status, lifeline):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork():
        supervisor._say(status, event="ready")
    os.close(1)
    time.sleep(60)

supervisor.STOP_S = 0.1
supervisor.load_history = lambda: None
supervisor._be_archive = be_archive
supervisor.main()
"""


def test_who_ignores_its_end_and_has_passed_its_pipe_on_is_not_waited_for() -> None:
    member = {"name": "box", "directory": "/nowhere", "archive_id": "00" * 32}
    with subprocess.Popen(
        [sys.executable, "-c", STUBBORN],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"members": [member]}).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["event"] == "ready"
            said, _ = process.communicate(timeout=30)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    assert json.loads(said) == {"member": "box", "event": "ended", "status": -9}
    assert process.returncode == 0
