"""What the second demo shows: the position, what does not agree, and whether that was planted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

from psp.aggregator import Reconciled
from psp.errors import EstateError
from psp.values import Value, to_text

from ._holding import AUDITOR, BANK, CONTROLLER, Holding
from ._holding_data import CASH, OTHER_EXPENSE, SALES, WITHIN_THE_GROUP, Finding

HIGH: Final = Decimal(50_000)
"""From here on a difference stands in red: a month of one company's pay."""
_RESULT: Final = ("4", "5", "6")
"""Accounts of the income statement begin so."""
_NOTHING: Final = Decimal(0)
_CHECKS: Final = {
    "invoices": "invoices against the books",
    "trade": "one company against the next",
    "bank": "statements against cash",
}


class HoldingView:
    """The demo's figures, each computed from answers alone; `planted` is looked at last."""

    def __init__(self, holding: Holding) -> None:
        self.holding = holding
        self._names = {
            archive: company.name
            for company in holding.companies
            for archive in (company.books, company.contracts, company.correspondence)
        }

    @cached_property
    def balances(self) -> dict[tuple[str, str], Decimal]:
        """Debit minus credit, by archive and account."""
        found: dict[tuple[str, str], Decimal] = {}
        for member, account, _, debit, credit, _ in self.holding.asked.postings.rows:
            found[str(member), str(account)] = _exact(debit) - _exact(credit)
        return found

    @cached_property
    def turnover(self) -> tuple[Decimal, Decimal]:
        """Every debit and every credit of the group."""
        total = self.holding.asked.postings.total()
        return _exact(total["debit"]), _exact(total["credit"])

    @cached_property
    def trial_balance(self) -> list[tuple[str, str, Decimal, Decimal, Decimal]]:
        """Account, title, debit or credit balance of the group, and what was eliminated of it."""
        titles: dict[str, str] = {}
        for _, account, title, *_ in self.holding.asked.postings.rows:
            titles.setdefault(str(account), str(title))
        eliminated = {SALES: self.agreed_trade, OTHER_EXPENSE: -self.agreed_trade}
        rows = []
        for account, title in sorted(titles.items()):
            its = (amount for (_, code), amount in self.balances.items() if code == account)
            net = sum(its, eliminated.get(account, _NOTHING))
            taken = abs(eliminated.get(account, _NOTHING))
            rows.append((account, title, max(net, _NOTHING), max(-net, _NOTHING), taken))
        return rows

    @cached_property
    def agreed_trade(self) -> Decimal:
        """What the companies sold to one another and both have in their books.

        Raises:
            EstateError: The sellers' sum and the buyers' do not lead to the same.
        """
        apart = [finding for finding in self.findings if finding.check == "trade"]
        by_seller, by_buyer = (
            _exact(answer.total()["total"]) - sum((_part(it, side) for it in apart), _NOTHING)
            for side, answer in enumerate((self.holding.asked.sold, self.holding.asked.bought))
        )
        if by_seller != by_buyer:
            raise EstateError(
                f"sellers and buyers agree about {by_seller} and {by_buyer}: a comparison has"
                " missed something. Nothing was eliminated."
            )
        return by_seller

    @cached_property
    def within_the_group(self) -> Decimal:
        """What the companies claim of one another and do not owe: nothing, if all is in order."""
        return sum(
            (amount for (_, code), amount in self.balances.items() if code in WITHIN_THE_GROUP),
            _NOTHING,
        )

    @cached_property
    def statements(self) -> dict[str, Decimal]:
        """What the bank statements say, by archive of letters."""
        return {str(member): _exact(sum_) for member, sum_ in self.holding.asked.statements.rows}

    @cached_property
    def findings(self) -> frozenset[Finding]:
        """Everything that two records do not agree about."""
        found = {
            each for check, pair in self.holding.asked.pairs for each in _findings(check, pair)
        }
        for company in self.holding.companies:
            stated = self.statements.get(company.correspondence)
            booked = self.balances.get((company.books, CASH))
            if stated != booked:
                amounts = (_text(stated), _text(booked))
                found.add(Finding("bank", company.correspondence, company.books, "", amounts))
        return frozenset(found)

    def to_dict(self) -> dict[str, Any]:
        """The object that `psp demo holding --json` prints."""
        holding, asked = self.holding, self.holding.asked
        return {
            "companies": len(holding.companies),
            "members": len(holding.companies) * 3,
            "states": dict(holding.states),
            "turnover": [to_text(side) for side in self.turnover],
            "trial_balance": [
                [code, title, *map(to_text, (debit, credit, eliminated))]
                for code, title, debit, credit, eliminated in self.trial_balance
            ],
            "within_the_group": to_text(self.within_the_group),
            "comparisons": [pair.to_dict() for _, pair in asked.pairs],
            "findings": [_finding_to_dict(each) for each in sorted(self.findings)],
            "planted": [_finding_to_dict(each) for each in sorted(holding.planted)],
            "unseen": holding.unseen,
            "bank": asked.accounts.to_dict(),
            "facts": dict(holding.facts),
        }

    def page(self) -> dict[str, Any]:
        """The form that `psp.console` draws: a headline, exceptions, and tables."""
        holding = self.holding
        seeds = ", ".join(map(str, holding.seeds))
        answered, members = holding.states.get("answered", 0), len(holding.companies) * 3
        debit, credit = self.turnover
        balance = "debits equal credits" if debit == credit else "debits and credits do NOT agree"
        return {
            "title": f"A group of {len(holding.companies)} companies",
            "as_of": to_text(holding.asked.postings.asked_at),
            "note": (
                "Nothing here is real. The books, contracts and letters are generated by closebench"
                f" (seeds {seeds}), the trade between the companies by psp; all amounts are in one"
                " currency, which the generator does not name."
            ),
            "headline": (
                f"{answered} of {members} archives answered. Over the whole group {balance}, to the"
                f" cent: {debit:,.2f}. {len(self.findings)} entries do not agree with what others"
                " have."
            ),
            "tiles": [
                ["Debits", f"{debit:,.2f}"],
                ["Credits", f"{credit:,.2f}"],
                ["Do not agree", str(len(self.findings))],
                ["Archives", f"{answered} of {members}"],
            ],
            "exceptions": [self._exception(each) for each in self._by_size()],
            "sections": [
                self._trial_balance_section(),
                self._companies_section(),
                self._comparisons_section(),
                self._bank_section(),
                self._planted_section(),
                self._facts_section(),
            ],
        }

    def _by_size(self) -> list[Finding]:
        return sorted(self.findings, key=lambda each: (-_apart(each), each))

    def _exception(self, finding: Finding) -> dict[str, str]:
        return {
            "severity": "high" if _apart(finding) >= HIGH else "medium",
            "sentence": _sentence(finding, self._names),
        }

    def _trial_balance_section(self) -> dict[str, Any]:
        rows = self.trial_balance
        debit = sum((row[2] for row in rows), _NOTHING)
        credit = sum((row[3] for row in rows), _NOTHING)
        trade = sum(
            (_part(each, 0) - _part(each, 1) for each in self.findings if each.check == "trade"),
            _NOTHING,
        )
        return _section(
            "Consolidated trial balance",
            f"As the {CONTROLLER.name} sees it: sums of accounts, added up here, without the trade"
            " within the group that both sides have. The three intercompany accounts should come to"
            f" nothing, and come to {self.within_the_group:,.2f}; the trade that does not agree"
            f" comes to {trade:,.2f}.",
            ["Account", "", "Debit", "Credit", "Eliminated"],
            [[code, title, *map(_shown, (one, two, off))] for code, title, one, two, off in rows],
            last=["", "Total", _shown(debit), _shown(credit), ""],
            texts=2,
        )

    def _companies_section(self) -> dict[str, Any]:
        found = Counter(self._names[each.left] for each in self.findings)
        rows = []
        for company in self.holding.companies:
            its = {
                code: it for (member, code), it in self.balances.items() if member == company.books
            }
            result = -sum((it for code, it in its.items() if code[0] in _RESULT), _NOTHING)
            rows.append(
                [
                    company.name,
                    _shown(-its.get(SALES, _NOTHING)),
                    _shown(result),
                    _shown(its.get(CASH, _NOTHING)),
                    _shown(self.statements.get(company.correspondence, _NOTHING)),
                    found[company.name] or "",
                ]
            )
        return _section(
            "Companies",
            "Sales and result to the end of November, trade within the group included; cash by the"
            " books, and by the bank's statement; and how many entries are open with others.",
            ["Company", "Sales", "Result", "Cash, books", "Cash, statement", "Open"],
            rows,
        )

    def _comparisons_section(self) -> dict[str, Any]:
        rows = []
        for _, pair in self.holding.asked.pairs:
            rows.append(
                [
                    pair.asked.title,
                    " + ".join(map(str, pair.rows)),
                    pair.matched,
                    len(pair.differ) or "",
                    len(pair.only_left) + len(pair.only_right) or "",
                    f"{max(pair.sizes):,}",
                ]
            )
        agree = sum(pair.matched for _, pair in self.holding.asked.pairs)
        return _section(
            "Compared without their rows",
            f"As the {AUDITOR.name} sees it. Of the {agree:,} rows that agree neither number nor"
            " amount has left its archive; of the others, just these two. For twenty rows 14 KB are"
            " much; for a million they are as many.",
            ["Comparison", "Rows", "Agree", "Differ", "On one side", "Bytes a side"],
            rows,
        )

    def _bank_section(self) -> dict[str, Any]:
        accounts = self.holding.asked.accounts
        shown: defaultdict[str, list[Sequence[Value]]] = defaultdict(list)
        for row in accounts.rows:
            shown[str(row[1])].append(row)
        hidden = sum(entry.cells for entry in accounts.withheld)
        return _section(
            f"What the {BANK.name} sees of the same books",
            f"{len(accounts.rows)} accounts of companies; {hidden} are hidden: fewer than"
            f" {BANK.floor} entries, or what would give such a one away.",
            ["Account", "Debits", "Credits", "Companies shown"],
            [
                [
                    account,
                    _shown(sum((_exact(row[2]) for row in rows), _NOTHING)),
                    _shown(sum((_exact(row[3]) for row in rows), _NOTHING)),
                    len(rows),
                ]
                for account, rows in sorted(shown.items())
            ],
        )

    def _planted_section(self) -> dict[str, Any]:
        planted, found = self.holding.planted, self.findings
        rows = [
            [
                words,
                _count(planted, check),
                _count(found & planted, check),
                _count(planted - found, check),
                _count(found - planted, check),
            ]
            for check, words in _CHECKS.items()
        ]
        return _section(
            "The generator's own list, opened after the last answer",
            f"{len(found & planted)} of {len(planted)} planted mismatches were found, and"
            f" {len(found - planted)} that were not planted. {self.holding.unseen} more of its"
            " errors stand alike in both records, or in one that nobody else has: comparing cannot"
            " show them.",
            ["Kind", "Planted", "Found", "Not found", "Not planted"],
            rows,
        )

    def _facts_section(self) -> dict[str, Any]:
        facts = self.holding.facts
        lines = [
            [
                "Archives",
                f"{facts['archives']}, a process each, {facts['archives_memory_mib']} MiB",
            ],
            ["Rows sealed", f"{facts['rows_sealed']:,}"],
            ["Rows that differ, as they left", f"{facts['record_bytes']:,} bytes"],
            ["Everything that came back", f"{facts['result_bytes']:,} bytes"],
            ["Everything that was asked", f"{facts['question_bytes']:,} bytes"],
            ["Time", f"{facts['asked_ms']} ms for all questions, {facts['demo_s']} s in all"],
        ]
        return _section("What just happened", "", ["", ""], lines, texts=2)


def _findings(check: str, pair: Reconciled) -> Iterable[Finding]:
    if not pair.is_listed:
        raise EstateError(f"{pair.asked.title}: not compared row by row; {pair.why_not_listed}")
    left, right = pair.asked.left.member, pair.asked.right.member
    for one, other in pair.differ:
        amounts = (_text(one.amount[0]), _text(other.amount[0]))
        yield Finding(check, left, right, str(one.key[0]), amounts)
    for row in pair.only_left:
        yield Finding(check, left, right, str(row.key[0]), (_text(row.amount[0]), ""))
    for row in pair.only_right:
        yield Finding(check, left, right, str(row.key[0]), ("", _text(row.amount[0])))


def _sentence(finding: Finding, names: Mapping[str, str]) -> str:
    left, right = names[finding.left], names[finding.right]
    one, other = (f"{Decimal(amount):,.2f}" if amount else "" for amount in finding.amounts)
    if finding.check == "bank":
        return f"{left}: cash is {other} by the books and {one} by the bank's statement"
    if finding.check == "trade":
        if not other:
            return f"{left} sold {finding.number} for {one} to {right}, whose books do not have it"
        if not one:
            return (
                f"{right} bought {finding.number} for {other} of {left}, whose books do not have it"
            )
        return f"{left} sold {finding.number} for {one}; {right} bought it for {other}"
    if not other:
        return f"{left}: invoice {finding.number} of {one} is not in the books"
    if not one:
        return f"{left}: the books have {finding.number} of {other}; there is no such invoice"
    return f"{left}: invoice {finding.number} is of {one}, and the books have {other}"


def _section(
    name: str,
    sentence: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    last: Sequence[object] | None = None,
    texts: int = 1,
) -> dict[str, Any]:
    """A table for the console: how many of its columns, from the left, are no numbers."""
    return {
        "name": name,
        "sentence": sentence,
        "columns": list(columns),
        "figures": [at >= texts for at in range(len(columns))],
        "rows": [[str(cell) for cell in row] for row in rows],
        "last": None if last is None else [str(cell) for cell in last],
    }


def _finding_to_dict(finding: Finding) -> dict[str, Any]:
    return {
        "check": finding.check,
        "left": finding.left,
        "right": finding.right,
        "number": finding.number,
        "amounts": list(finding.amounts),
    }


def _apart(finding: Finding) -> Decimal:
    return abs(_part(finding, 0) - _part(finding, 1))


def _part(finding: Finding, side: int) -> Decimal:
    return Decimal(finding.amounts[side] or 0)


def _count(findings: Iterable[Finding], check: str) -> int:
    return sum(finding.check == check for finding in findings)


def _exact(value: Value) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise EstateError(f"a sum came as {type(value).__name__}, and sums of money are exact.")
    return Decimal(value)


def _text(value: Value) -> str:
    return "" if value is None else f"{_exact(value):.2f}"


def _shown(amount: Decimal) -> str:
    return f"{amount:,.2f}" if amount else ""
