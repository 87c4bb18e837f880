"""`psp direct`: the commands of a console with one archive at the other end, and nothing between.

No part of `psp.aggregator` is loaded here, and none is needed: this is what a machine has that is
paired with one archive.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import trio
from cyclopts import App, Parameter

from psp.capability import token_from_text_untrusted
from psp.console import export, neutral, render_answer, render_status
from psp.endpoint import Address, connect
from psp.errors import DeadlineExceeded, EstateError, QuestionError, RemoteProtocolError
from psp.plan import (
    Cells,
    Plan,
    Question,
    combine_all,
    in_key_order,
    plan_from_sql,
    read_cells_untrusted,
)
from psp.transport import MachineKey
from psp.values import Value, plain, to_text

from ._common import out, print_json
from ._ledger import write_file

direct = App(name="direct", help="Ask one archive, with no aggregator between.")


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Line:
    """Which archive, and as whom.

    Parameters
    ----------
    to
        The archive's address, psp://SHA256:…@host:port/…
    certificate
        The certificate that it must show, a file of the pairing.
    key
        This machine's key file.
    within
        Seconds that the answer may take.
    """

    to: str
    certificate: Path
    key: Path
    within: float = 10.0

    @property
    def name(self) -> str:
        """What the archive is called here: the certificate's file was named for it."""
        return self.certificate.stem

    def address(self) -> Address:
        """The address, checked against the certificate.

        Raises:
            EstateError: It is of another machine, or no address.
        """
        pem = _text_of(self.certificate, "the certificate of a pairing")
        return Address.from_text_untrusted(self.to, certificate_pem=pem, name=self.name)


@direct.command
def ask(
    question: str,
    /,
    *,
    line: Line,
    grant: Path,
    as_of: int | None = None,
    save: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Ask one archive a question, in SQL of one table.

    Parameters
    ----------
    question
        As in: select count(*), sum(price) from sales
    grant
        The token that the archive's owner gave for this machine.
    as_of
        Ask for an earlier state: the size that the ledger had then.
    save
        Also write the answer to this file: .csv, .xlsx, .arrow or .json.
    json
        Print the answer as one JSON object.
    """
    asked = plan_from_sql(question)
    token = token_from_text_untrusted(_text_of(grant, "a grant"))
    cells = trio.run(_ask, line, token, _at(asked.plan, as_of))
    answer = answer_to_dict(line.name, asked, cells)
    if save is not None:
        write_file(save, export(answer, save.suffix))
    if json:
        print_json(answer)
        return
    render_answer(answer, out())
    out().print(f"ledger at tree size {cells.as_of}")


@direct.command
def status(*, line: Line, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Say how one archive is. Needs a pairing and no grant.

    Parameters
    ----------
    json
        Print one JSON object.
    """
    report = status_to_dict(line.name, trio.run(_health, line))
    if json:
        print_json(report)
    else:
        render_status(report, out())


async def _ask(line: Line, token: bytes, plan: Plan) -> Cells:
    key = MachineKey.load(line.key)
    with trio.move_on_after(line.within):
        async with connect(line.address(), key=key, timeout_s=line.within) as connection:
            table = connection.present(token).call("table", plan.table)
            answer: Value = await table.call("query", plan.to_wire(), timeout_s=line.within)
            return read_cells_untrusted(line.name, plan, answer)
    raise _too_late(line)


def _at(plan: Plan, as_of: int | None) -> Plan:
    try:
        return plan if as_of is None else replace(plan, as_of=as_of)
    except ValueError as exc:
        raise QuestionError(f"{exc}; name the size of a ledger, as an answer does") from None


async def _health(line: Line) -> Value:
    key = MachineKey.load(line.key)
    with trio.move_on_after(line.within):
        async with connect(line.address(), key=key, timeout_s=line.within) as connection:
            health: Value = await connection.bootstrap.call("health", timeout_s=line.within)
            return health
    raise _too_late(line)


def answer_to_dict(name: str, question: Question, cells: Cells) -> dict[str, Any]:
    """The plain form of one archive's answer: that of a fleet of one member.

    Raises:
        QuestionError: An output calculates with something that is not a number.
    """
    operations = [measure.operation for measure in question.plan.measures]

    def row(key: Any, figures: Any) -> list[Value]:
        alone = [
            combine_all(operation, [figure])
            for operation, figure in zip(operations, figures, strict=True)
        ]
        return question.row(key, alone, member=name)

    rows = [row(part.key, part.figures) for part in cells.parts if part.key is not None]
    rest = [part for part in cells.parts if part.key is None]
    other = row(("other",) * len(question.plan.group), rest[0].figures) if rest else None
    state = "answered" if cells.parts or cells.withheld else "empty"
    return {
        "columns": [output.name for output in question.outputs],
        "kinds": [output.kind for output in question.outputs],
        "rows": [
            [plain(value) for value in each]
            for each in question.arrange(rows if question.order else in_key_order(rows))
        ],
        "other": None if other is None else [plain(value) for value in other],
        "members_asked": 1,
        "states": {state: 1},
        "as_of": {name: cells.as_of},
        "absent": [],
        "withheld": [
            {
                "member": name,
                "group": [plain(value) for value in entry.key] if entry.key else None,
                "cells": entry.cells,
                "rule": entry.rule,
                "words": entry.words_for(),
            }
            for entry in cells.withheld
        ],
        "partial": False,
        "asked_at": to_text(datetime.now(UTC)),
    }


def status_to_dict(name: str, health: Value) -> dict[str, Any]:
    """The plain form of one archive's own report.

    Raises:
        RemoteProtocolError: It is not one.
    """
    match health:
        case {
            "state": str(state),
            "tree_size": int(tree_size),
            "record_bytes": int(record_bytes),
            "result_bytes": int(result_bytes),
        }:
            member: Mapping[str, Any] = {
                "member": name,
                "state": state,
                "tree_size": tree_size,
                "record_bytes": record_bytes,
                "result_bytes": result_bytes,
            }
        case _:
            raise RemoteProtocolError(
                f"{neutral(name)} sent a health report that is not one; ask its operator which"
                " release it runs"
            )
    return {
        "asked_at": to_text(datetime.now(UTC)),
        "members_asked": 1,
        "states": {"answered": 1},
        "absent": [],
        "members": [member],
    }


def _too_late(line: Line) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{line.name} gave no answer within {line.within:g} seconds. Allow more with --within, or"
        " ask how it is: psp direct status"
    )


def _text_of(file: Path, what: str) -> str:
    try:
        return file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise EstateError(f"{file} cannot be read as {what} ({exc}). Check the path.") from None
