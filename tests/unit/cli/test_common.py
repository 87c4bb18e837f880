from __future__ import annotations

import json

import pytest

from psp.cli._common import print_json


def test_json_has_no_character_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    document = {"town": "\x1b[2J\x9b2J\x7f\u202e\u2028é \U000e0041", "rows": [["a\nb", 1.5, None]]}

    print_json(document)

    line = capsys.readouterr().out
    assert line.removesuffix("\n").isprintable()
    assert "é" in line
    assert json.loads(line) == document
