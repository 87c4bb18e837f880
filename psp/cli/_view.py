"""`psp view`: a view file asked, shown, saved, watched and explained."""

from __future__ import annotations

import json as json_format
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import Parameter

from psp.aggregator import (
    Answer,
    AskOptions,
    BlockingFleet,
    Fleet,
    Reconciliation,
    View,
    evidence_of,
    load_view,
    show,
    why,
)
from psp.console import export, render_reconciliation, render_report, render_report_page, render_why
from psp.errors import EstateError, QuestionError, TooFewAnswered

from ._asking import NOBODY_NAMED, Asker
from ._common import out, print_json
from ._ledger import write_file

PAGE: Final = ".html"
EARLIER_BYTES_MAX: Final = 64 * 1024 * 1024
"""Of a saved view: one of ten thousand members has a twentieth of that."""


def view(
    file: Path,
    /,
    *,
    asker: Asker = NOBODY_NAMED,
    as_of: Path | None = None,
    since: Path | None = None,
    why: str | None = None,
    watch: float | None = None,
    save: Annotated[list[Path] | None, Parameter(negative=())] = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Ask the estate what a view file asks: exceptions, then the position, then who is missing.

    Parameters
    ----------
    file
        The view, a TOML file; docs/fleet.md says how to write one.
    as_of
        A view saved as .json: each member answers at the ledger state that it had then.
    since
        A view saved as .json: show each figure beside the one of then.
    why
        Say what one figure is made of: COLUMN, or COLUMN of a group, as in volume@2014-05
    watch
        Ask again every so many seconds, until Ctrl-C.
    save
        Also write the view to this file, which may be given again: .html is a page that proves
        itself, .csv, .xlsx, .arrow and .json are for other programs.
    json
        Print one JSON object.
    """
    asked = load_view(file)
    if isinstance(asked, Reconciliation):
        _reconcile(asked, asker.fleet(), save or [], json=json)
        return
    options: AskOptions = {"receipts": any(path.suffix == PAGE for path in save or [])}
    if as_of is not None:
        options["as_of"] = _sizes(as_of)
    with asker.fleet() as fleet:
        while True:
            with _placed(file):
                answer, missed = _asked(fleet, asked, options)
                before = None if since is None else fleet.view(asked, as_of=_sizes(since))
                if why is not None:
                    _say_why(asked, answer, why, json=json)
                    return
                _say(asked, answer, before, save or [], json=json)
            if missed is not None:
                raise missed
            if watch is None:
                return
            time.sleep(watch)


def _asked(
    fleet: BlockingFleet, view: View, options: AskOptions
) -> tuple[Answer, TooFewAnswered | None]:
    """Ask; where too few answered, what came is shown all the same, and then the failure."""
    try:
        return fleet.view(view, **options), None
    except TooFewAnswered as exc:
        if not isinstance(exc.answer, Answer):  # Errors know no types of the parts above them.
            raise
        return exc.answer, exc


@contextmanager
def _placed(file: Path) -> Iterator[None]:
    """Say where in the view stands what its members, or their currencies, do not agree with."""
    try:
        yield
    except QuestionError as exc:
        words = re.findall(r"['`]([^'`]+)['`]", str(exc))
        lines = file.read_text("utf-8", "replace").splitlines()
        found = [
            number
            for word in reversed(words)  # A table comes before the column it does not have.
            for number, line in enumerate(lines, 1)
            if re.search(rf"\b{re.escape(word)}\b", line)
        ]
        measures = [at for at, line in enumerate(lines, 1) if line.strip() == "[measures]"]
        (place, *_) = [*found, *measures, 1]
        raise QuestionError(f"{file}, line {place}: {exc}") from None


def _say(
    view: View, answer: Answer, before: Answer | None, files: list[Path], *, json: bool
) -> None:
    shown = show(view, answer, before=before)
    for path in files:
        if path.suffix == PAGE:
            page = render_report_page(shown, evidence_of(view, answer))
            write_file(path, page.encode())
        else:
            write_file(path, export(shown, path.suffix))
    if json:
        print_json(shown)
    else:
        render_report(shown, out())


def _reconcile(asked: Reconciliation, closed: Fleet, files: list[Path], *, json: bool) -> None:
    with closed as fleet:
        found = fleet.reconcile(asked).to_dict()
    for path in files:
        write_file(path, export(found, path.suffix))
    if json:
        print_json(found)
    else:
        render_reconciliation(found, out())


def _say_why(view: View, answer: Answer, cell: str, *, json: bool) -> None:
    column, _, group = cell.partition("@")
    found = why(view, answer, column, [each.strip() for each in group.split(",")] if group else [])
    if json:
        print_json(found)
    else:
        render_why(found, out())


def _sizes(file: Path) -> Mapping[str, int]:
    """The ledger states that a saved view names."""
    try:
        with file.open("rb") as stream:
            document: Any = json_format.loads(stream.read(EARLIER_BYTES_MAX))
        sizes = document["as_of"]
        if all(type(size) is int and size >= 0 for size in sizes.values()):
            return {str(member): size for member, size in sizes.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise EstateError(
        f"{file} is no saved view or answer. Save one with: psp view FILE.toml --save EARLIER.json"
    )
