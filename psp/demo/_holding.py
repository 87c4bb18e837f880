"""The second demo: a group of companies whose books, contracts and letters are compared.

Each company has three archives, and nobody has all of what is in them: the controller adds up, the
auditor compares and sees what differs, the bank sees accounts of ten entries or more.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from psp.aggregator import Answer, Reconciled, Reconciliation, Side, TrioFleet, open_fleet
from psp.estate import Draft, Estate, Servers, TenantPolicy, create_estate
from psp.totebox import Column, ColumnType, Table, share_secret

from ._holding_data import COLUMNS, KINDS, NAMES, Company, Finding, generate, write
from ._run import Reporter, passing_directory

SEEDS: Final = tuple(range(1, len(NAMES) + 1))
NUMBERED: Final = ("reference", "number")

CONTROLLER: Final = TenantPolicy(
    name="controller",
    sentence="Adds up accounts and statements of every company; sees no text and no entry.",
    operations=("exists", "count", "sum"),
    columns=("debit", "credit", "amount"),
    by=("account", "title", "kind"),
    floor=1,  # They are its own companies.
    objects={"ledger": ("prove",)},
    tables=("postings", "letters", "sold", "bought"),
)
AUDITOR: Final = TenantPolicy(
    name="auditor",
    sentence="Compares two archives at a time, and sees number and amount of what differs.",
    pairing="ADMIN",  # No other may compare; the grant carries nothing else that it allows.
    operations=("sketch", "read"),
    columns=(*NUMBERED, "amount"),
    by=NUMBERED,
    objects={},
    tables=("vouchers", "sold", "bought", "invoices"),
)
BANK: Final = TenantPolicy(
    name="bank",
    sentence="Lends to the group: sees accounts that stand for ten entries or more.",
    pairing="INTERFACE",
    operations=("count", "sum"),
    columns=("debit", "credit"),
    by=("account",),
    floor=10,
    objects={},
    tables=("postings",),
)

POSTINGS: Final = (
    "select member, account, title, sum(debit) as debit, sum(credit) as credit, count(*) as lines"
    " from postings group by member, account, title"
)
STATEMENTS: Final = (
    "select member, sum(amount) as balance from letters where kind = 'bank_statement'"
    " group by member"
)
SOLD: Final = "select sum(amount) as total from sold"
BOUGHT: Final = "select sum(amount) as total from bought"
ACCOUNTS: Final = (
    "select member, account, sum(debit) as debit, sum(credit) as credit from postings"
    " group by member, account"
)

_TYPES: Final = {
    "line": ColumnType.INTEGER,
    "date": ColumnType.DATE,
    **dict.fromkeys(("debit", "credit", "amount"), ColumnType.DECIMAL),
}
_MAY_BE_EMPTY: Final = frozenset({("postings", "reference"), ("invoices", "currency")}) | {
    ("letters", "amount")
}
_KEYS: Final = {
    "postings": ("entry", "line"),
    "vouchers": ("entry",),
    **dict.fromkeys(("sold", "bought", "invoices", "letters"), ("number",)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the three tenants were told; of what was planted nobody has told any of them.

    Attributes:
        pairs: The comparisons, each with its check: `invoices` or `trade`.
    """

    postings: Answer
    statements: Answer
    sold: Answer
    bought: Answer
    accounts: Answer
    pairs: tuple[tuple[str, Reconciled], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Everything the demo found, before anybody renders it.

    Attributes:
        planted: What the generator says that it planted where two records show it.
        unseen: How many of its errors are not of that kind: no comparison can show them.
    """

    seeds: tuple[int, ...]
    companies: tuple[Company, ...]
    asked: Asked
    states: Mapping[str, int]
    planted: frozenset[Finding]
    unseen: int
    facts: Mapping[str, Any]


def run_holding(
    *, seeds: Sequence[int] = SEEDS, keep: Path | None = None, reporter: Reporter
) -> Holding:
    """Make a group of companies with three archives each, and ask and compare them.

    Args:
        seeds: One company for each, two at least.
        keep: Leave the estate in this directory, which must not exist yet.

    Raises:
        EstateError: The directory exists, or the disk is full.
        MissingExtra: The generator is not installed.
    """
    started = time.monotonic()
    with passing_directory(keep) as root:
        reporter.stage(f"generating the books of {len(seeds)} companies")
        companies = generate(seeds)
        archives = len(companies) * len(set(KINDS.values()))
        reporter.stage("sealing three archives for each company", archives)
        estate = make_estate(companies, root, keep or root / "estate", reporter)
        reporter.stage("starting one process per archive", archives)
        with estate.serve(on_ready=lambda name: reporter.step()) as servers:
            asked, facts, states = trio.run(_play, estate, servers, companies, reporter)
    return Holding(
        seeds=tuple(seeds),
        companies=tuple(companies),
        asked=asked,
        states=states,
        planted=frozenset().union(*(company.planted for company in companies)),
        unseen=sum(company.unseen for company in companies),
        facts={**facts, "demo_s": round(time.monotonic() - started, 1)},
    )


def make_estate(
    companies: Sequence[Company], root: Path, directory: Path, reporter: Reporter
) -> Estate:
    """Seal the companies' files in their archives, and let the books be compared."""
    files = write(companies, root / "files")
    accounts = {str(row[3]) for company in companies for row in company.postings}
    estate = create_estate(
        *(
            Draft(
                root=directory,
                files=files[name],
                table=_table(name, accounts),
                null="",
                kind=KINDS[name],
            )
            for name in COLUMNS
        ),
        tenants=(CONTROLLER, AUDITOR, BANK),
        labels={
            archive: f"{company.name} {KINDS[table]}"
            for table in COLUMNS
            for archive, company in zip(files[table], companies, strict=True)
        },
        on_member=lambda name: reporter.step(),
    )
    # One secret among those that are compared with one another; letters never are.
    share_secret([estate.layout.archive(name) for name in (*files["vouchers"], *files["invoices"])])
    return estate


def _table(name: str, accounts: Iterable[str]) -> Table:
    return Table(
        name=name,
        columns=tuple(
            Column(
                name=column,
                type=_TYPES.get(column, ColumnType.TEXT),
                scale=2 if _TYPES.get(column) is ColumnType.DECIMAL else 0,
                nullable=(name, column) in _MAY_BE_EMPTY,
                # The chart of accounts is the same for all, and no secret.
                values=tuple(sorted(accounts)) if column == "account" else (),
            )
            for column in COLUMNS[name]
        ),
        key=_KEYS[name],
        subject="entry" if name == "postings" else None,
    )


async def _play(
    estate: Estate, servers: Servers, companies: Sequence[Company], reporter: Reporter
) -> tuple[Asked, dict[str, Any], Mapping[str, int]]:
    roster = estate.roster
    comparisons = list(comparisons_of(companies))
    async with (
        open_fleet(roster, tenant=CONTROLLER.name) as controller,
        open_fleet(roster, tenant=AUDITOR.name) as auditor,
        open_fleet(roster, tenant=BANK.name) as bank,
    ):
        began = time.monotonic()
        asked = await ask(controller, auditor, bank, comparisons, reporter)
        asked_s = time.monotonic() - began
        status = await auditor.status(members="kind=books,kind=contracts")
        letters = await controller.status(members="kind=correspondence")
        health = [*status.health.values(), *letters.health.values()]
        lines = [line for fleet in (controller, auditor, bank) for line in fleet.statistics()]
    answered = len(health)
    facts = {
        "archives": len(roster.members),
        "archives_memory_mib": round(servers.memory_bytes() / 2**20),
        "rows_sealed": estate.rows_sealed,
        "record_bytes": sum(report.record_bytes for report in health),
        "result_bytes": sum(line.received_bytes for line in lines),
        "question_bytes": sum(line.sent_bytes for line in lines),
        "asked_ms": round(asked_s * 1000),
    }
    states = {"answered": answered, "absent": len(roster.members) - answered}
    return asked, facts, {state: number for state, number in states.items() if number}


async def ask(
    controller: TrioFleet,
    auditor: TrioFleet,
    bank: TrioFleet,
    comparisons: Sequence[tuple[str, Reconciliation]],
    reporter: Reporter,
) -> Asked:
    """Put every question of the demo, each by the one who may."""
    reporter.stage("adding up, as the controller and as the bank", 5)
    questions = (
        partial(controller.ask, POSTINGS, members="kind=books"),
        partial(controller.ask, STATEMENTS, members="kind=correspondence"),
        partial(controller.ask, SOLD, members="kind=books"),
        partial(controller.ask, BOUGHT, members="kind=books"),
        partial(bank.ask, ACCOUNTS, members="kind=books"),
    )
    answers = []
    for question in questions:
        answers.append(await question())
        reporter.step()
    reporter.stage("comparing, as the auditor", len(comparisons))
    pairs = []
    for check, comparison in comparisons:
        pairs.append((check, await auditor.reconcile(comparison)))
        reporter.step()
    postings, statements, sold, bought, accounts = answers
    return Asked(
        postings=postings,
        statements=statements,
        sold=sold,
        bought=bought,
        accounts=accounts,
        pairs=tuple(pairs),
    )


def comparisons_of(companies: Sequence[Company]) -> Iterable[tuple[str, Reconciliation]]:
    """Each company's contracts against its books, and each seller's books against the buyer's."""
    for company in companies:
        yield (
            "invoices",
            Reconciliation(
                title=f"{company.name}, its invoices",
                left=_side(company.contracts, "invoices", "number"),
                right=_side(company.books, "vouchers", "reference"),
            ),
        )
    for seller, buyer in zip(companies, [*companies[1:], companies[0]], strict=True):
        yield (
            "trade",
            Reconciliation(
                title=f"{seller.name} to {buyer.name}",
                left=_side(seller.books, "sold", "number"),
                right=_side(buyer.books, "bought", "number"),
            ),
        )


def _side(member: str, table: str, key: str) -> Side:
    return Side(member=member, table=table, key=(key,), amount=("amount",))
