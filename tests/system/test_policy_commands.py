"""`psp policy test` as an owner types it; docs/capabilities.md prints what it prints."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Ran

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "capabilities.md").read_text("utf-8")


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    rows = [
        f"{n},{90_000 + 21_000 * n},{98004 if n % 6 else 98039},person {n}" for n in range(1, 21)
    ]
    (tmp_path / "sales.csv").write_text("\n".join(["id,price,zipcode,buyer", *rows, ""]))
    (text,) = re.findall(r"```toml\n(# policy\.toml.*?)```", PAGE, re.DOTALL)
    (tmp_path / "policy.toml").write_text(text, "utf-8")
    return tmp_path / "policy.toml"


def test_the_page_shows_what_the_command_prints(policy: Path, psp: Callable[..., Ran]) -> None:
    (shown,) = re.findall(r"```\n(lender reaches\n.*?)```", PAGE, re.DOTALL)
    ran = psp("policy", "test", "policy.toml", "--why", COLUMNS="80")

    assert [line.rstrip() for line in ran.out.splitlines()] == shown.splitlines()
    assert ran.status == 0


def test_a_case_that_comes_out_otherwise_is_the_status(
    policy: Path, psp: Callable[..., Ran]
) -> None:
    policy.write_text(policy.read_text("utf-8").replace('"refused"', '"allowed"'), "utf-8")
    ran = psp("policy", "test", "policy.toml")
    told = json.loads(psp("policy", "test", "policy.toml", "--json").out)

    assert ran.status == 1
    assert "expected allowed, and it is refused" in ran.out
    assert ran.out.endswith("3 cases, 1 failed\n")
    assert [case["ok"] for case in told["cases"]] == [True, True, False]
    assert told["failed"] == 1
    assert "pairing INTERFACE, operations: read is not named" in told["cases"][2]["why"]


def test_a_policy_with_a_mistake_is_one_sentence(policy: Path, psp: Callable[..., Ran]) -> None:
    policy.write_text(policy.read_text("utf-8").replace("floor =", "flor ="), "utf-8")

    assert "Did you mean 'floor'?" in psp("policy", "test", "policy.toml").sentence
