"""The status table: who is away first, with what to do."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from psp.console import render_status


def shown(report: dict[str, Any]) -> list[str]:
    file = io.StringIO()
    render_status(report, Console(file=file, width=120))
    return [line.strip() for line in file.getvalue().splitlines() if line.strip()]


def report(**changed: object) -> dict[str, Any]:
    return {
        "members_asked": 2,
        "states": {"answered": 1, "unreachable": 1},
        "absent": [
            {
                "member": "98039",
                "state": "unreachable",
                "cause": "refused",
                "since": "2026-01-02T10:42:00.000000Z",
            }
        ],
        "members": [
            {
                "member": "98004",
                "state": "active",
                "tree_size": 1234,
                "record_bytes": 0,
                "result_bytes": 10,
            }
        ],
        **changed,
    }


def test_who_is_away_comes_first_with_the_command_that_helps() -> None:
    lines = shown(report())
    away = next(line for line in lines if line.startswith("98039"))
    well = next(line for line in lines if line.startswith("98004"))
    assert lines.index(away) < lines.index(well)
    assert away.endswith("→ psp up 98039")
    assert "10:42" in away
    assert well.split() == ["98004", "active", "1,234", "0", "10"]
    assert lines[-1] == "2 archives: 1 answered, 1 unreachable"


def test_an_archives_name_for_its_state_cannot_paint_the_terminal() -> None:
    (member,) = report()["members"]
    lines = shown(report(members=[member | {"state": "\x1b[31mactive"}]))
    assert "\x1b" not in "".join(lines)
