"""`psp policy test`: what each grant of a policy reaches, tried on rows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from rich.padding import Padding
from rich.text import Text

from psp.console import neutral
from psp.testing import Outcome, Policy, read_policy

from ._common import out, print_json

policy = App(name="policy", help="Try who may reach what, before anybody does.")

_LINE_CHARACTERS_MAX: Final = 1_000
"""One line of a report; the sentence of a scope with many columns is long and wanted whole."""


@policy.command(name="test")
def try_policy(
    file: Path,
    /,
    *,
    why: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Try every case of a policy on real rows, and say which line decided.

    Leaves with 0 if every case came out as expected, else with 1.

    Parameters
    ----------
    file
        A policy in TOML (docs/capabilities.md, "Policy tests").
    why
        Print the lines that decided for the cases that came out as expected too, and what each
        grant reaches.
    json
        Print one JSON object.
    """
    with closing(read_policy(file)) as found:
        outcomes = found.run()
        if json:
            print_json(_document(found, outcomes))
        else:
            _show(found, outcomes, why=why)
    if not all(outcome.is_as_expected for outcome in outcomes):
        sys.exit(1)


def _document(found: Policy, outcomes: Sequence[Outcome]) -> dict[str, object]:
    return {
        "reach": found.reach(),
        "cases": [
            {
                "who": one.case.who,
                "asks": one.case.words,
                "expected": one.case.expected,
                "found": one.found,
                "ok": one.is_as_expected,
                "why": list(one.why),
            }
            for one in outcomes
        ],
        "failed": sum(not one.is_as_expected for one in outcomes),
    }


def _show(found: Policy, outcomes: Sequence[Outcome], *, why: bool) -> None:
    if why:
        for who, lines in found.reach().items():
            _print(f"{who} reaches", style="bold")
            for line in lines:
                _print(line, indent=2)
    for number, one in enumerate(outcomes, 1):
        mark, style = ("ok  ", "") if one.is_as_expected else ("FAIL", "bold red")
        _print(f"{mark} {number:>3}  {one.case.who}: {one.case.words}", style=style)
        if not one.is_as_expected:
            _print(f"expected {one.case.expected}, and it is {one.found}", indent=10)
        if why or not one.is_as_expected:
            for line in one.why:
                _print(line, indent=10)
    failed = sum(not one.is_as_expected for one in outcomes)
    _print(f"{len(outcomes)} cases, {f'{failed} failed' if failed else 'all ok'}")


def _print(text: str, *, style: str = "", indent: int = 0) -> None:
    shown = Text(neutral(text, _LINE_CHARACTERS_MAX), style=style)
    out().print(Padding(shown, (0, 0, 0, indent), expand=False))
