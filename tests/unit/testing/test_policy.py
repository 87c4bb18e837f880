"""A policy's cases, and the line that decided each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from psp.capability import token_to_text
from psp.errors import CapabilityError, PSPError
from psp.plan import scope_from_document
from psp.testing import Policy, read_policy
from tests.unit.capability.actors import first_token

POLICY = """
[tables.sales]
file = "sales.csv"
key = ["id"]

[grants.lender]
pairing = "INTERFACE"
[[grants.lender.links]]
[grants.lender.links.tables.sales]
operations = ["count", "mean", "read"]
output = ["price"]
filters = ["zip"]
groups = ["zip"]
rows_max = 1
[[grants.lender.links]]
[grants.lender.links.tables.sales]
operations = ["count", "mean"]
output = ["price"]
groups = ["zip"]
rows = "price <= 15"
floor = 5
groups_max = 1

[grants.clerk]
[[grants.clerk.links]]
[grants.clerk.links.tables.sales]
operations = ["read"]
output = ["price"]
filters = ["id"]
rows = "id = 'h3'"
rows_max = 1
"""
CASE = '[[cases]]\nwho = "{}"\nexpected = "{}"\n{}\n'
CASES = [
    ("lender", "allowed", 'asks = "select avg(price) from sales"', ""),
    (
        "lender",
        "hidden",
        'asks = "select zip, count(*) from sales group by zip"',
        "link 1, floor: 5",
    ),
    (
        "lender",
        "refused",
        'asks = "select sum(price) from sales"',
        "link 0, operations: sum is not",
    ),
    (
        "lender",
        "refused",
        "asks = \"select count(*) from sales where zip = 'AB'\"",
        "link 1, filters: zip is not named",
    ),
    ("lender", "refused", 'table = "sales"\nreads = ["h3"]', "pairing INTERFACE, operations: read"),
    ("clerk", "allowed", 'table = "sales"\nreads = ["h3"]', ""),
    (
        "clerk",
        "refused",
        'table = "sales"\nreads = ["h4"]',
        "link 0, rows: only where id in {'h3'}",
    ),
    ("clerk", "refused", 'asks = "select avg(gone) from sales"', "pairing USER, output: gone"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [f"h{n},{n},{'AB' if n < 16 and n % 5 else 'CD'},p{n}" for n in range(1, 21)]
    (tmp_path / "sales.csv").write_text("\n".join(["id,price,zip,buyer", *rows, ""]))
    return tmp_path


@pytest.fixture
def opened(folder: Path) -> Iterator[list[Policy]]:
    policies: list[Policy] = []
    yield policies
    for policy in policies:
        policy.close()


def write(folder: Path, text: str) -> Path:
    file = folder / "policy.toml"
    file.write_text(text, "utf-8")
    return file


def test_each_case_comes_out_with_the_line_that_decided(folder: Path, opened: list[Policy]) -> None:
    text = POLICY + "".join(CASE.format(*case[:3]) for case in CASES)
    opened.append(read_policy(write(folder, text)))
    outcomes = opened[0].run()

    for outcome, (*_, why) in zip(outcomes, CASES, strict=True):
        assert outcome.found == outcome.case.expected, outcome
        assert outcome.why[0].startswith(why) if why else outcome.why == ()


def test_another_outcome_than_the_expected_one_is_a_failure(
    folder: Path, opened: list[Policy]
) -> None:
    wrong = CASE.format("lender", "refused", 'asks = "select avg(price) from sales"')
    opened.append(read_policy(write(folder, POLICY + wrong)))
    (outcome,) = opened[0].run()

    assert (outcome.found, outcome.is_as_expected) == ("allowed", False)


def test_what_a_grant_reaches_is_said_with_the_line_that_took_the_rest(
    folder: Path, opened: list[Policy]
) -> None:
    case = CASE.format(*CASES[0][:3])
    opened.append(read_policy(write(folder, POLICY + case)))
    reach = opened[0].reach()

    assert reach["lender"][0].startswith("table sales: count, mean of (price), grouped by (zip)")
    assert any("not by link 1, table sales: filters (zip)" in line for line in reach["lender"])


def test_a_token_is_tried_as_well(folder: Path, opened: list[Policy]) -> None:
    scope = scope_from_document({"tables": {"sales": {"operations": ["count"], "floor": 30}}})
    (folder / "x.token").write_text(token_to_text(first_token(scope=scope)), "ascii")
    text = POLICY + '[grants.bearer]\ntoken = "x.token"\n'
    case = CASE.format("bearer", "hidden", 'asks = "select count(*) from sales"')
    opened.append(read_policy(write(folder, text + case)))
    (outcome,) = opened[0].run()

    assert (outcome.found, outcome.why[0]) == ("hidden", "link 0, floor: 30")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = ", "is not TOML"),
        ("[policies]\n", "a policy has no 'policies'"),
        (POLICY, r"no \[\[cases\]\]"),
        (CASE.format("x", "allowed", 'asks = "y"'), r"no \[grants.NAME\]"),
        (POLICY + CASE.format("bob", "allowed", 'asks = "y"'), "case 1 asks as 'bob'"),
        (POLICY + CASE.format("clerk", "fine", 'asks = "y"'), "it can be allowed, refused, hidden"),
        (POLICY + CASE.format("clerk", "allowed", ""), "case 1 must either ask"),
        (POLICY.replace("sales.csv", "none.csv") + CASE.format(*CASES[0][:3]), "rows of 'sales'"),
        (POLICY.replace('file = "sales.csv"', "file = 3") + CASE.format(*CASES[0][:3]), "rows of"),
        (
            "tables = 3\n" + POLICY[POLICY.index("[grants.l") :] + CASE.format(*CASES[0][:3]),
            "tables",
        ),
        (POLICY.replace("floor = 5", "flor = 5") + CASE.format(*CASES[0][:3]), "'floor'"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_place(folder: Path, text: str, says: str) -> None:
    with pytest.raises(CapabilityError, match=says):
        read_policy(write(folder, text))


def test_a_question_about_another_table_is_a_mistake_of_the_policy(
    folder: Path, opened: list[Policy]
) -> None:
    case = CASE.format("clerk", "refused", 'asks = "select count(*) from rents"')
    opened.append(read_policy(write(folder, POLICY + case)))
    with pytest.raises(PSPError, match="the policy has the tables sales"):
        opened[0].run()
    with pytest.raises(CapabilityError, match="cannot be read"):
        read_policy(folder / "gone.toml")
