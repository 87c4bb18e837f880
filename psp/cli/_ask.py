"""`psp ask` and `psp status`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Unpack

from cyclopts import Parameter

from psp.aggregator import Answer, AskOptions, BlockingFleet, Rates, ReadReceipt, Terms
from psp.console import export, neutral, render_answer, render_status
from psp.errors import EstateError, LedgerError, TooFewAnswered
from psp.ledger import decode_proof_file_untrusted
from psp.totebox import decode_read_untrusted, hash_result

from ._asking import NOBODY_NAMED, Asker
from ._common import err, out, print_json
from ._ledger import write_file


@Parameter(name="*")
@dataclass(frozen=True)
class TermOptions:
    """How members are brought together.

    Parameters
    ----------
    shares
        Count each member at the tenant's share of it.
    rates
        A TOML file of named exchange rates; money is converted by them before it is combined.
    money
        The columns that hold money, or the word none; by default every column of decimals.
    fiscal
        Fold months into each member's own fiscal periods: year or quarter.
    """

    shares: Annotated[bool, Parameter(negative=())] = False
    rates: Path | None = None
    money: Annotated[tuple[str, ...], Parameter(consume_multiple=True, negative=())] = ()
    fiscal: Literal["", "year", "quarter"] = ""

    def terms(self) -> Terms:
        """Read them, the file of rates too."""
        return Terms(
            shares=self.shares,
            rates=Rates.load(self.rates) if self.rates else None,
            money=_money(self.money),
            fiscal=self.fiscal,
        )


def _money(columns: tuple[str, ...]) -> frozenset[str] | None:
    if not columns:
        return None
    return frozenset() if columns == ("none",) else frozenset(columns)


NO_TERMS: Final = TermOptions()


def ask(
    question: str,
    /,
    *,
    asker: Asker = NOBODY_NAMED,
    members: str = "",
    require: str = "deadline",
    within: float = 10.0,
    as_of: int | None = None,
    terms: TermOptions = NO_TERMS,
    receipts: Path | None = None,
    save: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Ask the whole estate one question, in SQL of one table.

    Parameters
    ----------
    question
        As in: select member, count(*), sum(price) from sales group by member
    members
        Whom to ask, as in: region=north,kind=books
    require
        How many must answer: all, any, quorum, quorum:N, or deadline for whoever is in time.
    within
        Seconds after which a member counts as late.
    as_of
        Ask for an earlier state: the size that each member's ledger had then.
    receipts
        Where to write each member's proof that this read is on its record, MEMBER.tlog-proof.
    save
        Also write the answer to this file: .csv, .xlsx, .arrow or .json.
    json
        Print the answer as one JSON object.
    """
    with asker.fleet() as fleet:
        asked, missed = _asked(
            fleet,
            question,
            members=members,
            require=require,
            deadline_s=within,
            as_of=as_of,
            receipts=receipts is not None,
            terms=terms.terms(),
        )
    answer = asked.to_dict()
    if receipts is not None:
        _keep_all(asked, receipts)
    if save is not None:
        write_file(save, export(answer, save.suffix))
    _say(answer, json=json)
    if missed is not None:
        raise missed
    _check_answered(answer)


def _say(answer: Mapping[str, Any], *, json: bool) -> None:
    if json:
        print_json(answer)
        return
    render_answer(answer, out())
    if terms := answer.get("terms"):
        words = ", ".join(f"{name} {neutral(str(value))}" for name, value in terms.items())
        out().print(f"on these terms: {words}", soft_wrap=True)
    if sizes := sorted(set(answer["as_of"].values())):
        span = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        out().print(f"ledgers at tree size {span}")


def _check_answered(answer: Mapping[str, Any]) -> None:
    if not any(answer["states"].get(state) for state in ("answered", "empty", "suppressed")):
        first = answer["absent"][0]
        raise EstateError(
            f"no member answered; {first['member']} is {first['state']}: {neutral(first['cause'])}"
            " — see each with: psp status"
        )


def _asked(
    fleet: BlockingFleet, question: str, **options: Unpack[AskOptions]
) -> tuple[Answer, TooFewAnswered | None]:
    """Ask; where too few answered, what came is shown all the same, and then the failure."""
    try:
        return fleet.ask(question, **options), None
    except TooFewAnswered as exc:
        if not isinstance(exc.answer, Answer):  # Errors know no types of the parts above them.
            raise
        return exc.answer, exc


def _keep_all(asked: Answer, directory: Path) -> None:
    for outcome in asked.outcomes:
        if outcome.reply is not None and outcome.reply.receipt is not None:
            _keep(outcome.member, outcome.reply.receipt, directory)


def _keep(member: str, receipt: ReadReceipt, directory: Path) -> None:
    """Write a receipt, if the read that it proves is the one that was answered here."""
    path = directory / f"{member}.tlog-proof"
    answer = {name: value for name, value in receipt.answer.items() if name != "read"}
    read = decode_read_untrusted(decode_proof_file_untrusted(receipt.proof).entry or b"")
    if (read.result, read.tree_size) != (hash_result(answer), answer["as_of"]):
        raise LedgerError(
            f"the receipt of {neutral(member)} is of another answer than the one it gave. Keep"
            " both, and ask its operator; no receipt was written for it."
        )
    write_file(path, receipt.proof)
    err().print(f"{path}: check it with: psp verify {path} --key KEY", soft_wrap=True)


def status(
    *,
    asker: Asker = NOBODY_NAMED,
    members: str = "",
    within: float = 10.0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Say which archives are well, and what to do about those that are not.

    Parameters
    ----------
    members
        Whom to ask, as in: region=north,kind=books
    within
        Seconds after which a member counts as late.
    json
        Print one JSON object.
    """
    with asker.fleet() as fleet:
        report = fleet.status(deadline_s=within, members=members).to_dict()
    if json:
        print_json(report)
    else:
        render_status(report, out())
