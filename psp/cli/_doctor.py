"""`psp doctor`: why a member does not answer, and what to do."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from psp.aggregator import Diagnosis
from psp.console import neutral

from ._asking import NOBODY_NAMED, Asker
from ._common import out, print_json


def doctor(
    member: str = "",
    /,
    *,
    asker: Asker = NOBODY_NAMED,
    within: float = 10.0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Try each step that a question needs, and say what to do where one fails.

    Leaves with 0 if all are well, else 1.

    Parameters
    ----------
    member
        Whom to look at, as in: 98004, or region=north; by default everybody.
    within
        Seconds for each member.
    json
        Print one JSON object.
    """
    with asker.fleet() as fleet:
        found = fleet.examine(deadline_s=within, members=member)
    if json:
        print_json({"members": [each.to_dict() for each in found]})
    else:
        for each in found:
            _say(each, in_full=len(found) == 1)
        well = sum(each.is_well for each in found)
        out().print(Text(f"{well} of {len(found)} members are well", style="bold"))
    if not all(each.is_well for each in found):
        sys.exit(1)


def _say(found: Diagnosis, *, in_full: bool) -> None:
    """All steps of one member; of many, only what is wrong."""
    for step in found.steps:
        if in_full or not step.is_well:
            style = "green" if step.is_well else "bold red"
            words = f"{neutral(found.member)}  {step.what}: {neutral(step.words)}"
            out().print(Text(words, style=style), soft_wrap=True)
            if step.remedy:
                out().print(Text(f"  → {step.remedy}"), soft_wrap=True)
