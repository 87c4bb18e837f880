"""`psp archive`: files into one archive, and rows out of it, whether it is served or not."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, cast

from cyclopts import App, Parameter
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from psp import totebox
from psp.console import neutral
from psp.errors import EstateError, IntakeRefused
from psp.totebox import (
    DOCUMENTS,
    Manifest,
    Table,
    administer,
    manifest_of,
    propose_table,
    table_to_dict,
)
from psp.values import Value

from ._common import agreed, err, operator, out, print_json, show_table

archive = App(name="archive", help="Seal files in one archive, and retract rows.")

_Flag = Annotated[bool, Parameter(negative=())]
_NO_NAME = re.compile(r"[^A-Za-z0-9]+")


@archive.command
def ingest(
    directory: Path,
    /,
    *files: Path,
    table: str | None = None,
    accept_partial: _Flag = False,
    null: str = "",
    sheet: str = "",
    currency: str | None = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    json: _Flag = False,
) -> None:
    """Seal files and put their rows into a table: each file whole, or not at all.

    Parameters
    ----------
    directory
        The archive.
    files
        CSV, JSON Lines, Parquet or XLSX files.
    table
        The table they fill; by default the archive's only one. One that is not there is proposed
        from the first file.
    accept_partial
        Seal a file although some of its rows do not fit; those are kept beside it.
    null
        The one text that stands for "no value" in CSV files; by default the empty one.
    sheet
        The sheet of a workbook that has several.
    currency
        Marks columns of a proposed table that are named like money, as in USD.
    yes
        Approve the proposed schema without being asked.
    json
        Print one JSON object for each file.
    """
    _require_files(files)
    manifest = manifest_of(directory)
    name = _table(manifest, table, files[0])
    if name not in [one.name for one in manifest.tables]:
        proposed = propose_table(files[0], name, null=null, currency=currency, sheet=sheet)
        _add(directory, manifest, proposed, files[0], ask=not yes)
    for file in files:
        with _progress(file, quiet=json) as progress:
            done = administer(
                directory,
                "ingest",
                os.fspath(file.absolute()),
                name,
                operator(),
                accept_partial,
                null,
                sheet,
                doing="ingesting files",
                progress=progress,
            )
        _say_ingested(file, name, _facts(done), json=json)


@archive.command
def seal(
    directory: Path,
    /,
    *files: Path,
    kind: str = "",
    date: str = "",
    counterparty: str = "",
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    json: _Flag = False,
) -> None:
    """Seal files of any kind as they are, each with a row in the table of documents.

    Parameters
    ----------
    directory
        The archive.
    files
        Any files.
    kind
        What they are, as in lease.
    date
        Their own date, as in 2026-05-02.
    counterparty
        Whom they are from, or to.
    yes
        Approve the table of documents, which the first one brings, without being asked.
    json
        Print one JSON object for each file.
    """
    _require_files(files)
    manifest = manifest_of(directory)
    if DOCUMENTS.name not in [one.name for one in manifest.tables]:
        _add(directory, manifest, DOCUMENTS, files[0], ask=not yes)
    for file in files:
        done = administer(
            directory,
            "seal",
            os.fspath(file.absolute()),
            operator(),
            kind,
            date,
            counterparty,
            doing="sealing documents",
        )
        _say_sealed(file, _facts(done), json=json)


@archive.command(name="retract")
def retract_rows(
    directory: Path,
    table: str,
    /,
    *keys: str,
    reason: str,
    json: _Flag = False,
) -> None:
    """Take rows out of a table, all of them or none. What sealed them stays sealed.

    Parameters
    ----------
    directory
        The archive.
    table
        The table.
    keys
        One for each row; a key of several columns as in a CSV: 2014,17.
    reason
        Why; it is kept in the ledger for ever.
    json
        Print one JSON object.
    """
    several = any(len(one.key) > 1 for one in manifest_of(directory).tables if one.name == table)
    split = [next(csv.reader([key]), [""]) if several else [key] for key in keys]
    done = administer(
        directory, "retract", table, [*split], operator(), reason, doing="retracting rows"
    )
    entry = _facts(done)["entry"]
    if json:
        print_json({"table": table, "retracted": len(keys), "entry": entry})
    else:
        out().print(f"{len(keys)} rows of {table} retracted by entry {entry}")


@archive.command
def share_secret(*directories: Path) -> None:
    """Give archives one new secret, so that their tables can be compared without their rows.

    Parameters
    ----------
    directories
        The archives' directories; two or more. None of them may have a secret yet.
    """
    if len(directories) < 2:
        raise EstateError("a secret is shared by two archives or more. Name their directories.")
    totebox.share_secret(directories)
    out().print(
        f"{len(directories)} archives share a secret; compare them with a view of kind"
        " reconciliation"
    )


def _require_files(files: Sequence[Path]) -> None:
    if not files:
        raise IntakeRefused("no file was named, so there is nothing to seal. Name at least one.")


def _table(manifest: Manifest, given: str | None, first: Path) -> str:
    if given is not None:
        return given
    names = [one.name for one in manifest.tables if one != DOCUMENTS]
    if len(names) > 1:
        raise IntakeRefused(
            f"which table? {manifest.name} has {', '.join(names)}. Say --table NAME"
        )
    return names[0] if names else f"t_{made}" if (made := _made_name(first))[:1].isdigit() else made


def _add(directory: Path, manifest: Manifest, proposed: Table, file: Path, *, ask: bool) -> None:
    """Silence is never acceptance: without a person's yes, or --yes, no table is added."""
    if ask:
        show_table(proposed, f"table {proposed.name!r}, proposed for {neutral(file.name)}")
        if not agreed(f"Add this table to {manifest.name}?"):
            raise IntakeRefused(
                "the schema was not approved, so nothing was sealed. Say y, or --yes"
            )
    document = cast(Value, table_to_dict(proposed))
    administer(directory, "add_table", document, operator(), doing="adding a table")


def _made_name(file: Path) -> str:
    return _NO_NAME.sub("_", file.stem).strip("_")[:60] or "rows"


def _say_ingested(file: Path, table: str, done: Mapping[str, Any], *, json: bool) -> None:
    if json:
        report = {name: done[name] for name in ("rows", "refused", "entry", "refused_rows")}
        print_json(
            {"file": file.name, "table": table, **report, "sealed_before": done["sealed_before"]}
        )
    elif done["sealed_before"] is not None:
        _say_earlier(file, done)
    else:
        refused = done["refused"]
        more = f", {refused:,} refused: see {done['refused_rows']}" if refused else ""
        text = f"{file.name}: {done['rows']:,} rows sealed in {table} by entry {done['entry']}"
        out().print(neutral(text + more))


def _say_sealed(file: Path, done: Mapping[str, Any], *, json: bool) -> None:
    if json:
        report = {name: done[name] for name in ("hash", "bytes", "entry", "sealed_before")}
        print_json({"file": file.name, **report})
    elif done["sealed_before"] is not None:
        _say_earlier(file, done)
    else:
        text = f"{file.name}: sealed by entry {done['entry']} as {done['hash']}"
        out().print(neutral(text))


def _say_earlier(file: Path, done: Mapping[str, Any]) -> None:
    name, day, entry = done["sealed_as"], done["sealed_before"][:10], done["entry"]
    text = f"{file.name}: sealed already, as {name} on {day} by entry {entry}; not again"
    out().print(neutral(text))


def _facts(done: Value) -> Mapping[str, Any]:
    """What an operation has said of itself."""
    assert isinstance(done, Mapping)
    return done


class _Shown:
    """Rows and bytes of one ingest, as they come, on a bar."""

    def __init__(self, bar: Progress, file: Path) -> None:
        self._bar = bar
        self._task = bar.add_task(neutral(file.name), total=None, rate="")

    def __call__(self, rows: int, bytes_done: int, bytes_all: int) -> None:
        elapsed = self._bar.tasks[0].elapsed or 0.0
        rate = f"{rows / elapsed:,.0f} rows/s" if elapsed else ""
        self._bar.update(self._task, total=bytes_all, completed=bytes_done, rate=rate)


@contextmanager
def _progress(file: Path, *, quiet: bool) -> Iterator[_Shown]:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=err(),
        transient=True,
        disable=quiet or not err().is_terminal,
    )
    with bar:
        yield _Shown(bar, file)
