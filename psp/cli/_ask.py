"""`psp ask` and `psp status`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from psp.aggregator import Fleet
from psp.console import neutral, render_answer, render_status
from psp.errors import EstateError

from ._common import find_estate, out, print_json


def ask(
    question: str,
    /,
    *,
    estate: Path | None = None,
    tenant: str | None = None,
    within: float = 10.0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Ask the whole estate one question, in SQL of one table.

    Parameters
    ----------
    question
        As in: select member, count(*), sum(price) from sales group by member
    estate
        The estate's directory.
    tenant
        Who asks; by default the estate's first tenant.
    within
        Seconds after which a member counts as late.
    json
        Print the answer as one JSON object.
    """
    with Fleet(find_estate(estate), tenant=tenant) as fleet:
        answer = fleet.ask(question, deadline_s=within).to_dict()
    if json:
        print_json(answer)
    else:
        render_answer(answer, out())
    if not any(answer["states"].get(state) for state in ("answered", "empty", "suppressed")):
        first = answer["absent"][0]
        raise EstateError(
            f"no member answered; {first['member']} is {first['state']}: {neutral(first['cause'])}"
            " — see each with: psp status"
        )


def status(
    *,
    estate: Path | None = None,
    tenant: str | None = None,
    within: float = 10.0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Say which archives are well, and what to do about those that are not.

    Parameters
    ----------
    estate
        The estate's directory.
    tenant
        Who asks; by default the estate's first tenant.
    within
        Seconds after which a member counts as late.
    json
        Print one JSON object.
    """
    with Fleet(find_estate(estate), tenant=tenant) as fleet:
        report = fleet.status(deadline_s=within).to_dict()
    if json:
        print_json(report)
    else:
        render_status(report, out())
