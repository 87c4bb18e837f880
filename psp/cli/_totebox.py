"""`psp totebox audit`, `pack`, `unpack`: one archive, stopped, by itself."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from psp import totebox
from psp.console import neutral
from psp.totebox import Report, Severity, audit_archive

from ._common import out, print_json

_STYLES = {Severity.NOTE: "dim", Severity.WARNING: "yellow", Severity.DAMAGE: "bold red"}


def audit(
    directory: Path,
    /,
    *,
    sample: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Look whether everything of a stopped archive is still there, and repair nothing.

    Leaves with 0 when all is well, 3 after a warning, 4 after damage, and 1 where no audit was
    possible.

    Parameters
    ----------
    directory
        The archive.
    sample
        Hash only so many originals, the next ones of a round, and do not compare the index.
    json
        Print the report as one JSON object.
    """
    _tell(audit_archive(directory, sample=sample), json=json)


def pack(
    directory: Path,
    file: Path,
    /,
    *,
    with_keys: Annotated[bool, Parameter(negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write a stopped archive into one file; the same archive gives the same bytes.

    Parameters
    ----------
    directory
        The archive.
    file
        The tar to make; nothing may be there yet.
    with_keys
        Put its private keys in: whoever has the file can then answer and sign as the archive does.
    json
        Print what was packed as one JSON object.
    """
    packed = totebox.pack(directory, file, with_keys=with_keys)
    if json:
        document = {"files": packed.files, "bytes": packed.size_bytes, "keys": packed.has_keys}
        print_json({"file": str(file), **document})
        return
    keys = (
        "with its private keys: keep the file as you keep them"
        if packed.has_keys
        else "without its private keys: the copy is verified, and served only where they are"
    )
    out().print(
        f"{packed.files} files, {packed.size_bytes:,} bytes, {keys}\n"
        f"Next: psp totebox unpack {shlex.quote(str(file))} DIR",
        soft_wrap=True,
    )


def unpack(
    file: Path, directory: Path, /, *, json: Annotated[bool, Parameter(negative=())] = False
) -> None:
    """Make an archive from a packed file and audit it; leave as `audit` does.

    Parameters
    ----------
    file
        What `psp totebox pack` made.
    directory
        The archive to make; nothing may be there yet.
    json
        Print the report as one JSON object.
    """
    _tell(totebox.unpack(file, directory), json=json)


def _tell(report: Report, *, json: bool) -> None:
    if json:
        print_json(report.to_dict())
    else:
        _show(report)
    sys.exit(report.worst)


def _show(report: Report) -> None:
    console = out()
    for one in sorted(report.findings, key=lambda one: -one.severity):
        since = f" (since {neutral(one.since)})" if one.since else ""
        words = f"{one.severity.name.lower()}: {one.part}: {neutral(one.what)}{since}"
        console.print(Text(words, style=_STYLES[one.severity]), soft_wrap=True)
        console.print(Text(f"  next: {neutral(one.next)}"), soft_wrap=True)
    size = report.checkpoint.tree_size if report.checkpoint else "unreadable"
    console.print(
        f"ledger entries: {size} · reads on record: {report.reads_recorded} · originals hashed:"
        f" {report.assets_read} of {report.assets_sealed}"
        f" · index {'compared' if report.index_compared else 'not compared'}",
        soft_wrap=True,
    )
    if report.assets_read < report.assets_sealed:
        chances = ", ".join(f"{k}: {chance:.3g}" for k, chance in report.catches.items())
        console.print(f"chance that one of k damaged originals was among them: {chances}")
    console.print(f"worst: {report.worst.name.lower()}" if report.findings else "all is well")
