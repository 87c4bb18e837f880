from __future__ import annotations

from pathlib import Path

import pytest

from psp.cli._app import app

from .captures import SECRET, record


def test_the_calls_of_a_capture_are_bars_over_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["trace", str(record(tmp_path / "capture"))], result_action="return_value")
    text = capsys.readouterr().out
    assert [line.rstrip() for line in text.splitlines()] == [
        "3 calls in 80.0 ms",
        f"     1  table                {'█' * 24}{' ' * 25}     40.0 ms  value",
        f"     2  rows on 1 + 1 steps  {'█' * 24}{'▒' * 24}      80.0 ms  failed",
        f"     3  wait                 {'·' * 48}               no answer",
    ]
    assert SECRET not in text


def test_a_capture_without_calls_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "capture"
    file.write_text('{"s":0,"from":"subject","frame":"PONG","number":1,"bytes":3}\n')
    app(["trace", str(file)], result_action="return_value")
    assert capsys.readouterr().out == "no call is in this capture\n"
