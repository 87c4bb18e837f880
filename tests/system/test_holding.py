"""The second demo: what it finds is what was planted, and every sum is that of the rows."""

from __future__ import annotations

import copy
import os
from collections import defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest

from psp.capability import decode_chain_untrusted, token_from_text_untrusted
from psp.console import render_sections_page
from psp.demo import Holding, HoldingView, run_holding
from psp.estate import Estate

closebench = pytest.importorskip("closebench.world", reason="the generator is not installed")

pytestmark = pytest.mark.slow

# In these two all kinds of mismatches are planted that two records can show. `make soak` takes
# all twelve, as the demo does.
SEEDS = tuple(range(1, 13)) if os.environ.get("PSP_HOLDING") == "whole" else (7, 12)


class Silent:
    """Nobody looks at the bars of a test."""

    def stage(self, words: str, total: int | None = None) -> None:
        pass

    def step(self) -> None:
        pass


@dataclass(frozen=True)
class Ran:
    """What came of the demo, and the estate that it left."""

    holding: Holding
    view: HoldingView
    directory: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    directory = tmp_path_factory.mktemp("holding") / "kept"
    holding = run_holding(seeds=SEEDS, keep=directory, reporter=Silent())
    return Ran(holding, HoldingView(holding), directory)


def test_exactly_what_was_planted_is_found(ran: Ran) -> None:
    assert ran.view.findings == ran.holding.planted
    checks = {finding.check for finding in ran.holding.planted}
    assert checks == {"invoices", "trade", "bank"}
    shapes = {
        (finding.check, *map(bool, finding.amounts))
        for finding in ran.holding.planted
        if finding.check != "bank"
    }
    # Missing on the one side, missing on the other, and two amounts: each of both checks.
    assert shapes == {
        (check, *sides)
        for check in ("invoices", "trade")
        for sides in ((True, False), (False, True), (True, True))
    }


def test_the_generators_own_errors_are_among_them(ran: Ran) -> None:
    """By the list that the package gives, not by what was made of it here."""
    seen = {"unrecorded_invoice", "duplicate_invoice", "unrecorded_bank_fee"}
    found = {
        (finding.check, abs(Decimal(finding.amounts[0] or 0) - Decimal(finding.amounts[1] or 0)))
        for finding in ran.view.findings
    }
    errors = [error for seed in SEEDS for error in closebench.World(seed).build().errors]
    for error in errors:
        if error.kind in seen | {"intercompany_mismatch"}:
            check = {"intercompany_mismatch": "trade", "unrecorded_bank_fee": "bank"}
            assert (check.get(error.kind, "invoices"), Decimal(error.amount)) in found, error
    others = [error for error in errors if error.kind not in seen | {"intercompany_mismatch"}]
    assert ran.holding.unseen == len(others)


def test_one_changed_row_would_be_found(ran: Ran) -> None:
    """The equality above can fail: with one more posting planted, or one found less."""
    (one, *rest) = sorted(ran.holding.planted)
    assert ran.view.findings != frozenset(rest)
    assert ran.view.findings != ran.holding.planted | {replace(one, number="other")}


def test_the_trial_balance_is_that_of_the_rows_to_the_cent(ran: Ran) -> None:
    of_account: dict[str, Decimal] = defaultdict(Decimal)
    debits = credits = Decimal(0)
    for company in ran.holding.companies:
        for _, _, _, account, _, debit, credit, *_ in company.postings:
            debits, credits = debits + Decimal(str(debit)), credits + Decimal(str(credit))
            of_account[str(account)] += Decimal(str(debit)) - Decimal(str(credit))
    assert debits == credits
    assert ran.view.turnover == (debits, credits)
    # By the generator's own rows, not by what was asked: what both sides of a trade have.
    agreed = sum(
        Decimal(str(row[3]))
        for seller, buyer in zip(
            ran.holding.companies,
            [*ran.holding.companies[1:], ran.holding.companies[0]],
            strict=True,
        )
        for row in seller.sold
        if (row[0], row[3]) in {(other[0], other[3]) for other in buyer.bought}
    )
    assert ran.view.agreed_trade == agreed
    of_account["4000"] += agreed
    of_account["6900"] -= agreed
    assert {row[0]: row[2] - row[3] for row in ran.view.trial_balance} == of_account
    assert sum(row[2] for row in ran.view.trial_balance) == sum(
        row[3] for row in ran.view.trial_balance
    )


def test_claims_within_the_group_are_off_by_what_the_trade_is(ran: Ran) -> None:
    apart = sum(
        Decimal(finding.amounts[0] or 0) - Decimal(finding.amounts[1] or 0)
        for finding in ran.view.findings
        if finding.check == "trade"
    )
    assert ran.view.within_the_group == apart != 0


def test_the_bank_sees_no_account_of_fewer_than_ten_entries(ran: Ran) -> None:
    entries: dict[tuple[str, str], set[object]] = defaultdict(set)
    for company in ran.holding.companies:
        for entry, _, _, account, *_ in company.postings:
            entries[company.books, str(account)].add(entry)
    accounts = ran.holding.asked.accounts
    shown = {(str(member), str(account)) for member, account, *_ in accounts.rows}
    few = {cell for cell, its in entries.items() if len(its) < 10}
    assert few
    assert shown
    assert not shown & few
    assert len(shown) + sum(entry.cells for entry in accounts.withheld) == len(entries)


def test_each_tenant_is_granted_what_it_needs_and_no_text(ran: Ran) -> None:
    granted: dict[str, dict[str, set[str]]] = {}
    for file in ran.directory.glob("tenants/*/grants/*.token"):
        token = token_from_text_untrusted(file.read_text("ascii"))
        scope = decode_chain_untrusted(token).links[-1].scope
        kind = file.stem.partition("-")[2]
        tables = granted.setdefault(f"{file.parts[-3]} {kind}", {})
        for name, rule in scope.tables.items():
            tables[name] = set(rule.output)
    number = {"number", "amount"}
    assert granted == {
        "controller books": {
            "postings": {"debit", "credit"},
            "sold": {"amount"},
            "bought": {"amount"},
        },
        "controller correspondence": {"letters": {"amount"}},
        "auditor books": {
            "vouchers": {"reference", "amount"},
            "sold": number,
            "bought": number,
        },
        "auditor contracts": {"invoices": number},
        "bank books": {"postings": {"debit", "credit"}},
    }


def test_the_answer_key_is_in_no_archive(ran: Ran) -> None:
    told = [error.description for seed in SEEDS for error in closebench.World(seed).build().errors]
    for file in ran.directory.rglob("*"):
        data = file.read_bytes() if file.is_file() else b""
        assert not any(words.encode() in data for words in told), file


def test_rows_left_only_where_they_differ(ran: Ran) -> None:
    facts = ran.holding.facts
    assert facts["archives"] == 3 * len(SEEDS)
    assert ran.holding.states == {"answered": 3 * len(SEEDS)}
    assert facts["archives_memory_mib"] < 1536
    rows = sum(len(company.invoices) + len(company.vouchers) for company in ran.holding.companies)
    differ = sum(
        len(pair.differ) * 2 + len(pair.only_left) + len(pair.only_right)
        for _, pair in ran.holding.asked.pairs
    )
    assert 0 < differ < rows / 10
    assert 0 < facts["record_bytes"] < 300 * differ


def test_the_page_says_that_nothing_is_real_and_names_every_finding(ran: Ran) -> None:
    page = render_sections_page(ran.view.page())
    assert "Nothing here is real." in page
    assert page.count('class="chip"') == len(ran.view.findings)
    for finding in ran.view.findings:
        assert finding.number in page
    planted = copy.copy(ran.view.page()["sections"][-2])
    assert planted["sentence"].startswith(
        f"{len(ran.holding.planted)} of {len(ran.holding.planted)} planted mismatches were found"
    )


def test_the_estate_that_was_kept_opens_and_renews_its_grants(ran: Ran) -> None:
    estate = Estate.open(ran.directory)
    assert {member.kind for member in estate.roster.members} == {
        "books",
        "contracts",
        "correspondence",
    }
    before = sorted(ran.directory.glob("tenants/*/grants/*.token"))
    estate.renew_grants()
    assert sorted(ran.directory.glob("tenants/*/grants/*.token")) == before
