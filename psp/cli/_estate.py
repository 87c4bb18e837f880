"""`psp estate new` and `psp up`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from psp.console import neutral
from psp.errors import EstateError
from psp.estate import (
    ADMINISTRATOR,
    OWNER,
    Draft,
    Estate,
    TenantPolicy,
    create_estate,
    draft_estate,
)
from psp.totebox import Readiness
from psp.transport import Passphrase

from ._common import agreed, err, find_estate, out, print_json, show_table
from ._passphrase import Passphrases


def new(
    name: str,
    /,
    *,
    from_: Annotated[list[Path], Parameter(name="--from", consume_multiple=True, negative=())],
    table: str | None = None,
    currency: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    text: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    null: str = "",
    accept_partial: Annotated[bool, Parameter(negative=())] = False,
    encrypt_keys: Annotated[bool, Parameter(negative=())] = False,
    administrator: Annotated[bool, Parameter(negative=())] = False,
    passphrase_fd: int | None = None,
    engine: Literal["sqlite", "duckdb"] = "sqlite",
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Make an estate from files: one sovereign archive per file, sealed, paired and granted.

    Parameters
    ----------
    name
        The directory to make; nothing may be there yet.
    from_
        CSV or Parquet files with the same columns.
    table
        What the table is called in questions; by default the name of the estate.
    currency
        Columns that are money, as in price=USD.
    text
        Columns that are text, whatever they look like.
    null
        The one text that stands for "no value" in CSV files; by default the empty one.
    accept_partial
        Seal files although some of their rows do not fit; those are kept beside the file.
    encrypt_keys
        Seal the owner's keys (root, anchor, operator) with a passphrase, which `psp up` then asks
        for. The keys of machines, which start by themselves, stay as they are.
    administrator
        Also make the tenant admin, whose machine is paired as ADMIN: for `psp fleet do`.
    passphrase_fd
        Read the passphrase from this file descriptor instead of asking.
    engine
        What keeps the indexes and answers: sqlite, or duckdb for large tables.
    yes
        Approve the proposed schema without being asked.
    json
        Print the result as one JSON object.
    """
    named = _pairs(currency or [])
    draft = draft_estate(
        Path(name), from_, table=table, currencies=named, null=null, text=text or []
    )
    passphrase = Passphrases(passphrase_fd).choose() if encrypt_keys else None
    draft = replace(draft, accept_partial=accept_partial, engine=engine)
    tenants = (OWNER, ADMINISTRATOR) if administrator else (OWNER,)
    _make(draft, passphrase, tenants, ask=not yes, json=json)


def up(
    *members: str,
    estate: Path | None = None,
    passphrase_fd: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Serve the estate's archives on this machine, one process each, until Ctrl-C.

    Parameters
    ----------
    members
        Serve only these; by default all.
    estate
        The estate's directory.
    passphrase_fd
        Read the passphrase of the owner's keys from this file descriptor instead of asking.
    json
        Print one JSON object when all are ready.
    """
    opened = Estate.open(find_estate(estate), Passphrases(passphrase_fd))
    opened.renew_grants()
    readiness = Readiness()
    with _progress(json) as bar:
        task = bar.add_task("starting archives", total=len(members) or len(opened.roster.members))
        servers = opened.serve(members, on_ready=lambda name: bar.advance(task), on_log=_say_log)
        servers.__enter__()
    try:
        ready = {"serving": len(servers.pids), "estate": str(opened.layout.root)}
        if json:
            print_json(ready)
        else:
            out().print(
                f"{len(servers.pids)} serving · {opened.layout.file} · Ctrl-C stops\n"
                f'Ask from another terminal: psp ask "select count(*) from {opened.table}"'
            )
        sys.stdout.flush()
        readiness.ready()
        opened.renew_while(servers)
    finally:
        readiness.stopping()
        readiness.close()
        servers.stop()


def _say_log(member: str, text: str) -> None:
    """What an archive tells its owner: whom it refused and why. Peers' names may be in it."""
    err().print(f"{member}: {neutral(text)}")


def _make(
    draft: Draft,
    passphrase: Passphrase | None,
    tenants: Sequence[TenantPolicy],
    *,
    ask: bool,
    json: bool,
) -> None:
    if ask:
        count = len(draft.files)
        show_table(draft.table, f"table {draft.table.name!r}, proposed from {count} files")
        # Silence is never acceptance: without a person's yes, or --yes, nothing is sealed.
        if not agreed(f"Seal {count} archives under this schema?"):
            raise EstateError("the schema was not approved, so nothing was sealed. Say y, or --yes")
    with _progress(json) as bar:
        task = bar.add_task("sealing archives", total=len(draft.files))
        estate = create_estate(
            draft,
            tenants=tenants,
            on_member=lambda member: bar.advance(task),
            passphrase=passphrase,
        )
    summary = {
        "estate": str(draft.root),
        "archives": len(estate.roster.members),
        "rows": estate.rows_sealed,
        "tenants": list(estate.roster.tenants),
    }
    if json:
        print_json(summary)
        return
    out().print(
        f"{summary['archives']} archives sealed, {estate.rows_sealed:,} rows, in {draft.root}/\n"
        f"This machine holds the owner's keys ({draft.root}/keys). Before more than a trial read"
        " which of them to move away: docs/estate.md\nNext: psp up"
    )


def _pairs(items: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for item in items:
        column, sign, currency = item.partition("=")
        if not sign:
            raise EstateError(f"--currency {item} is not COLUMN=CODE, as in price=USD")
        pairs[column] = currency
    return pairs


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=err(),
        transient=True,
        disable=quiet or not err().is_terminal,
    )
