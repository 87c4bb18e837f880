"""`psp attack`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import trio
from cyclopts import Parameter
from rich.table import Table as Grid
from rich.text import Text

from psp.attack import NOT_TRIED, AttackReport, Verdict, attack_member, infer
from psp.console import neutral
from psp.errors import EstateError, PSPError
from psp.estate import Estate

from ._common import err, find_estate, out, print_json
from ._passphrase import Passphrases

_STYLES: Final = {Verdict.HELD: "green", Verdict.BREACH: "bold red", Verdict.UNCLEAR: "yellow"}


def attack(
    *members: str,
    all: Annotated[bool, Parameter(negative=())] = False,
    estate: Path | None = None,
    tenant: str | None = None,
    passphrase_fd: int | None = None,
    policy: Literal["own", "none"] = "own",
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Attack archives that are served, with the estate's own keys, and change nothing there.

    Leaves with 0 if every attempt was refused, and with 1 if anything got through or could not be
    tried.

    Parameters
    ----------
    members
        Whom to attack.
    all
        Attack every member of the estate.
    estate
        The estate's directory.
    tenant
        Whose machine the attacker has; by default the estate's first tenant.
    passphrase_fd
        Read the passphrase of the keys that grant from this file descriptor instead of asking.
    policy
        With `none`, only what is inferred from answers is tried, on rows without any disclosure
        control: it shows what each of these attacks would have found.
    json
        Print one JSON object for each member.
    """
    opened = Estate.open(find_estate(estate), Passphrases(passphrase_fd))
    names = members or tuple(one.name for one in opened.roster.members) if all else members
    if not names:
        raise EstateError("nobody was named. Say which member to attack, or --all")
    bare = policy == "none"
    held = [_attack_one(opened, name, tenant, bare=bare, json=json) for name in names]
    if not json:
        out().print("not tried:\n" + "\n".join(f"  {one}" for one in NOT_TRIED), soft_wrap=True)
    sys.exit(0 if min(held) else 1)


def _attack_one(estate: Estate, name: str, tenant: str | None, *, bare: bool, json: bool) -> bool:
    """Attack one member and say so; give whether it has held."""

    async def run() -> AttackReport:
        return await attack_member(estate, name, tenant=tenant)

    try:
        report = infer(estate, name, tenant=tenant, bare=True) if bare else trio.run(run)
    except PSPError as exc:
        if json:
            print_json({"member": name, "held": False, "error": neutral(str(exc))})
        else:
            err().print(f"{neutral(name)}: not attacked: {neutral(str(exc))}", soft_wrap=True)
        return False
    if json:
        print_json(report.to_dict())
    else:
        _show(report)
    return report.held


def _show(report: AttackReport) -> None:
    grid = Grid(title=neutral(report.member), title_justify="left")
    for heading in ("attack", "tried", "got", "stopped by", "verdict"):
        grid.add_column(heading)
    for one in report.attempts:
        mark = "" if one.rule_seen_from == "owner" or not one.rule else " *"
        verdict = Text(one.verdict.value, style=_STYLES[one.verdict])
        grid.add_row(one.attack, one.tried, one.got, one.rule + mark, verdict)
    console = out()
    console.print(grid)
    counts: dict[Verdict, Any] = {
        verdict: sum(one.verdict is verdict for one in report.attempts) for verdict in Verdict
    }
    console.print(
        ", ".join(f"{count} {verdict.value}" for verdict, count in counts.items() if count)
        + f" · left behind: {report.ledger_entries} ledger entries, {report.reads_recorded} reads"
        "\n* seen from outside: an archive never says which check refused. The others are named by"
        " the archive's own checks, run here on the same bytes.",
        soft_wrap=True,
    )
    if report.not_inferred:
        console.print(f"not tried here: {neutral(report.not_inferred)}", soft_wrap=True)
