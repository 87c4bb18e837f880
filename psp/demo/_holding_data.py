"""The records of `psp demo holding`: generated books of a group, and what was planted in them.

`closebench` makes one company for each seed: postings, documents, and closing errors of known
truth. Its companies know nothing of one another, so what makes a group of them is added here: each
company sells services to the next, the last one to the first, and every month both clear the
amount. A few further slips are planted on the way. Nothing of it is real, and the page says so.
"""

from __future__ import annotations

import csv
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Final

from psp.errors import MissingExtra

if TYPE_CHECKING:
    from closebench.world import World

NAMES: Final = (
    *("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir"),
    *("Ginkgo", "Hazel", "Ironwood", "Juniper", "Karri", "Larch"),
)
MONTHS: Final = 11
"""The generator closes November: the year has eleven months."""
YEAR: Final = 2026
RECEIVABLE: Final = "1150"
PAYABLE: Final = "2500"
CLEARING: Final = "3200"
WITHIN_THE_GROUP: Final = (RECEIVABLE, PAYABLE, CLEARING)
"""Accounts that must come to nothing over the whole group."""
CASH: Final = "1000"
SALES: Final = "4000"
OTHER_EXPENSE: Final = "6900"

_ADDED_ACCOUNTS: Final = {
    RECEIVABLE: "Intercompany receivables",
    CLEARING: "Intercompany clearing",
}
_OWN_NUMBERS: Final = re.compile(r"(?:STK|RENT|INV|INS|OS|PR|PRA|SEC|DEP)-\d+")
"""References that a company gives itself. Any other is the number on somebody else's paper."""
_VOUCHER_SOURCES: Final = frozenset({"ap", "ar", "manual"})
_RATE: Final = re.compile(r"EUR rate on (\S+): ([0-9.]+)")
_BALANCE: Final = re.compile(r"Closing balance per statement: (-?[0-9.]+)")
_CENT: Final = Decimal("0.01")
_NOTHING: Final = Decimal(0)

Row = tuple[object, ...]


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that two records do not agree about.

    The generator writes a set of these, and so does whoever compared the archives: the two sets
    must be equal.

    Attributes:
        check: `invoices`, `trade` or `bank`.
        left, right: The two archives.
        number: On the paper, or in the books.
        amounts: What each side has, as text; empty for a side that has nothing.
    """

    check: str
    left: str
    right: str
    number: str
    amounts: tuple[str, str]


@dataclass(slots=True)
class Company:
    """One company: rows for each of its tables, and what was planted."""

    name: str
    titles: dict[str, str] = field(default_factory=dict)
    postings: list[Row] = field(default_factory=list)
    vouchers: list[Row] = field(default_factory=list)
    sold: list[Row] = field(default_factory=list)
    bought: list[Row] = field(default_factory=list)
    invoices: list[Row] = field(default_factory=list)
    letters: list[Row] = field(default_factory=list)
    planted: set[Finding] = field(default_factory=set)
    unseen: int = 0

    @property
    def books(self) -> str:
        return archive_name(self.name, "books")

    @property
    def contracts(self) -> str:
        return archive_name(self.name, "contracts")

    @property
    def correspondence(self) -> str:
        return archive_name(self.name, "correspondence")


@dataclass(frozen=True, slots=True)
class _Slips:
    """Which companies the further slips happen to, by place."""

    mistyped_invoice: frozenset[int]
    mistyped_trade: frozenset[int]
    forgotten_sale: frozenset[int]


def archive_name(company: str, kind: str) -> str:
    """The name of one of a company's archives, as in `alder-books`."""
    return f"{company.lower()}-{kind}"


def generate(seeds: Sequence[int]) -> list[Company]:
    """Make a group of one company for each seed; the same seeds give the same group.

    Raises:
        MissingExtra: closebench is not installed.
    """
    try:
        from closebench.world import World
    except ImportError:
        raise MissingExtra(
            "generating the books of a group", library="closebench", extra="demo"
        ) from None
    chance = random.Random(f"psp demo holding {list(seeds)}")
    slips = _choose_slips(chance, len(seeds))
    worlds = [World(seed).build() for seed in seeds]
    companies = [
        _company(world, name, chance, mistypes=place in slips.mistyped_invoice)
        for place, (world, name) in enumerate(zip(worlds, NAMES, strict=False))
    ]
    for place, seller in enumerate(companies):
        after = (place + 1) % len(companies)
        _trade(seller, companies[after], worlds[after], chance, place, slips)
    return companies


def write(companies: Iterable[Company], into: Path) -> dict[str, dict[str, Path]]:
    """Write one file for each table of each archive: by table, then by archive."""
    files: dict[str, dict[str, Path]] = {}
    for company in companies:
        for table, columns in COLUMNS.items():
            archive = archive_name(company.name, KINDS[table])
            file = into / table / f"{archive}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w", encoding="utf-8", newline="") as target:
                csv.writer(target).writerows([columns, *getattr(company, table)])
            files.setdefault(table, {})[archive] = file
    return files


KINDS: Final = {
    "postings": "books",
    "vouchers": "books",
    "sold": "books",
    "bought": "books",
    "invoices": "contracts",
    "letters": "correspondence",
}
"""Which kind of archive has which table."""

COLUMNS: Final = {
    "postings": (
        *("entry", "line", "date", "account", "title", "debit", "credit"),
        *("source", "reference", "memo"),
    ),
    "vouchers": ("entry", "date", "reference", "amount", "memo"),
    "sold": ("number", "date", "partner", "amount"),
    "bought": ("number", "date", "partner", "amount"),
    "invoices": ("number", "date", "kind", "party", "amount", "currency", "title", "body"),
    "letters": ("number", "date", "kind", "amount", "title", "body"),
}


def _choose_slips(chance: random.Random, companies: int) -> _Slips:
    # A quarter, an eighth, a quarter: of twelve companies three, one and three.
    places = list(range(companies))
    quarter, eighth = max(1, companies // 4), max(1, companies // 8)
    trade = chance.sample(places, min(companies, quarter + eighth))
    return _Slips(
        mistyped_invoice=frozenset(chance.sample(places, quarter)),
        mistyped_trade=frozenset(trade[:quarter]),
        forgotten_sale=frozenset(trade[quarter:]),
    )


def _company(world: World, name: str, chance: random.Random, *, mistypes: bool) -> Company:
    company = Company(name, {account.code: account.name for account in world.coa})
    company.titles.update(_ADDED_ACCOUNTS)
    slip = _mistyped_invoice(company, world, chance) if mistypes else None
    for entry in world.ledger.entries:
        day = date.fromisoformat(entry.date)
        pairs = [(line.account, line.debit, line.credit) for line in entry.lines]
        if slip and entry.ref == slip.number:
            wrong = Decimal(slip.amounts[1])
            pairs = [(code, wrong if debit else debit, wrong if credit else credit)
                     for code, debit, credit in pairs]  # fmt: skip
        _post(company, entry.eid, day, pairs, entry.source, entry.ref, entry.memo)
        if entry.source in _VOUCHER_SOURCES and entry.ref and not _OWN_NUMBERS.fullmatch(entry.ref):
            total = sum((debit for _, debit, _ in pairs), _NOTHING)
            company.vouchers.append((entry.eid, day, entry.ref, total, entry.memo))
    _papers(company, world)
    _what_closebench_planted(company, world)
    return company


def _post(
    company: Company,
    entry: str,
    day: date,
    pairs: Iterable[tuple[str, Decimal, Decimal]],
    source: str,
    reference: str,
    memo: str,
) -> None:
    for line, (account, debit, credit) in enumerate(pairs, 1):
        title = company.titles[account]
        company.postings.append(
            (entry, line, day, account, title, debit, credit, source, reference, memo)
        )


def _papers(company: Company, world: World) -> None:
    """What others sent: invoices and contracts in one archive, everything else in the other."""
    rates = {
        found[1]: Decimal(found[2])
        for document in world.documents
        for found in _RATE.finditer(document.body)
    }
    for document in world.documents:
        start = (document.doc_id, document.date, document.kind)
        text = (document.title, document.body.replace("\n", " · "))
        stated = document.meta.get("amount")
        if document.kind in ("vendor_invoice", "contract"):
            currency = document.meta.get("currency", "")
            if stated is None:  # In euros, and booked at the rate of its day.
                stated = Decimal(document.meta["amount_eur"]) * rates[document.date]
            party = document.meta.get("vendor") or document.meta.get("customer", "")
            amount = Decimal(stated).quantize(_CENT)
            company.invoices.append((*start, party, amount, currency, *text))
        else:
            if found := _BALANCE.search(document.body):
                stated = found[1]
            company.letters.append((*start, "" if stated is None else stated, *text))


def _what_closebench_planted(company: Company, world: World) -> None:
    """Keep what two records show to whoever compares them; the rest is wrong in both, or in one."""
    for error in world.errors:
        amount = str(Decimal(error.amount).quantize(_CENT))
        match error.kind:
            case "unrecorded_invoice":
                (number,) = [row[0] for row in company.invoices if str(row[0]).startswith("SUB-")]
                _plant(company, "invoices", str(number), (amount, ""))
            case "duplicate_invoice":
                (again,) = [row for row in company.vouchers if row[0] == error.entry_ids[1]]
                _plant(company, "invoices", str(again[2]), ("", amount))
            case "unrecorded_bank_fee":
                (statement,) = [row for row in company.letters if row[2] == "bank_statement"]
                stated = Decimal(str(statement[3]))
                booked = stated + Decimal(amount)
                company.planted.add(
                    Finding(
                        "bank",
                        company.correspondence,
                        company.books,
                        "",
                        (f"{stated}", f"{booked}"),
                    )
                )
            case "intercompany_mismatch":
                pass  # The trade within the group has it: the one who sold it has a claim.
            case _:
                company.unseen += 1


def _plant(company: Company, check: str, number: str, amounts: tuple[str, str]) -> None:
    company.planted.add(Finding(check, company.contracts, company.books, number, amounts))


def _mistyped_invoice(company: Company, world: World, chance: random.Random) -> Finding:
    """Two digits of one electricity bill change places on their way into the books."""
    bills = [
        (document.doc_id, Decimal(document.meta["amount"]))
        for document in world.documents
        if document.doc_id.startswith("UTIL-")
    ]
    chance.shuffle(bills)
    number, amount, wrong = next(
        (number, amount, wrong) for number, amount in bills if (wrong := _mistyped(amount))
    )
    _plant(company, "invoices", number, (f"{amount:.2f}", f"{wrong:.2f}"))
    return Finding("invoices", "", "", number, (f"{amount:.2f}", f"{wrong:.2f}"))


def _mistyped(amount: Decimal) -> Decimal | None:
    """The amount with its first two different neighbours swapped; None if all digits are alike."""
    digits = f"{amount:.2f}"
    for place in range(len(digits) - 4):
        if digits[place] != digits[place + 1]:
            swapped = digits[:place] + digits[place + 1] + digits[place] + digits[place + 2 :]
            return Decimal(swapped)
    return None


def _trade(
    seller: Company,
    buyer: Company,
    world: World,
    chance: random.Random,
    place: int,
    slips: _Slips,
) -> None:
    """One year of services from one company to the next, with the slips that were chosen for it."""
    unrecorded = [error for error in world.errors if error.kind == "intercompany_mismatch"]
    slip_month = chance.randrange(1, MONTHS)
    for month in range(1, MONTHS + 1):
        number = f"IC-{YEAR}{month:02}"
        sold: Decimal | None = Decimal(chance.randrange(800_000, 3_000_000)) / 100
        bought: Decimal | None = sold
        if month == MONTHS:
            # The buyer's letters say of November either that nothing is open or what is missing.
            sold = Decimal(unrecorded[0].amount) if unrecorded else None
            bought = None
        elif month == slip_month and place in slips.mistyped_trade and sold is not None:
            bought = _mistyped(sold)
        elif month == slip_month and place in slips.forgotten_sale:
            sold = None
        _record(seller, buyer, number, month, sold, bought)


def _record(
    seller: Company,
    buyer: Company,
    number: str,
    month: int,
    sold: Decimal | None,
    bought: Decimal | None,
) -> None:
    day = date(YEAR, month, 28)
    if sold is not None:
        seller.sold.append((number, day, buyer.name, f"{sold:.2f}"))
        _post_trade(seller, number, day, sold, (RECEIVABLE, SALES), (CLEARING, RECEIVABLE))
    if bought is not None:
        buyer.bought.append((number, day, seller.name, f"{bought:.2f}"))
        _post_trade(buyer, number, day, bought, (OTHER_EXPENSE, PAYABLE), (PAYABLE, CLEARING))
    if sold != bought:
        amounts = tuple("" if amount is None else f"{amount:.2f}" for amount in (sold, bought))
        finding = Finding("trade", seller.books, buyer.books, number, ("", ""))
        seller.planted.add(replace(finding, amounts=(amounts[0], amounts[1])))


def _post_trade(
    company: Company,
    number: str,
    day: date,
    amount: Decimal,
    made: tuple[str, str],
    cleared: tuple[str, str],
) -> None:
    """Two entries: the service, and its clearing, unless it waits for the other side to see it."""
    entries = [("", made)] + [("C", cleared)] * (day.month < MONTHS)
    for mark, (debit, credit) in entries:
        entry = f"G{mark}{len(company.postings):05}"
        pairs = [(debit, amount, _NOTHING), (credit, _NOTHING, amount)]
        _post(company, entry, day, pairs, "group", number, "Services within the group")
