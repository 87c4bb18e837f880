"""From three CSV files to a view, as the README tells it: in a real terminal, in a minute."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pexpect
import pytest

from psp.errors import EstateError
from psp.estate import Estate

from .conftest import TOWNS, Ran, served

pytestmark = pytest.mark.slow

QUESTION = "select member, count(*) as leases, sum(rent) as rent from homes group by member"


@pytest.fixture
def homes(tmp_path: Path, psp: Callable[..., Ran], files: list[Path]) -> Iterator[Path]:
    """An estate of three archives, being served."""
    made = psp("estate", "new", "homes", "--yes", "--from", *files)
    assert made.status == 0, made.err
    with served(tmp_path):
        yield tmp_path / "homes"


def test_four_commands_and_one_minute(tmp_path: Path, files: list[Path]) -> None:
    """new, up, ask, status in a terminal, the schema approved by hand."""
    started = time.monotonic()
    names = " ".join(path.name for path in files)
    environment = {**os.environ, "COLUMNS": "120", "TERM": "xterm-256color"}

    def terminal(arguments: str) -> pexpect.spawn[str]:
        return pexpect.spawn(
            f"{sys.executable} -m psp {arguments}",
            cwd=str(tmp_path),
            env=environment,
            encoding="utf-8",
            timeout=60,
        )

    new = terminal(f"estate new homes --from {names}")
    new.expect("Seal 3 archives under this schema")
    new.sendline("y")
    new.expect("3 archives sealed")
    new.expect(pexpect.EOF)
    up = terminal("up")
    up.expect("3 serving")
    ask = terminal(f"ask '{QUESTION}'")
    for town in TOWNS:
        ask.expect(town)
    ask.expect("3")
    ask.expect(pexpect.EOF)
    status = terminal("status")
    for town in TOWNS:
        status.expect(town)
    status.expect(pexpect.EOF)
    up.sendintr()
    up.expect(pexpect.EOF)
    for process in (new, ask, status):
        process.close()
        assert process.exitstatus == 0
    assert time.monotonic() - started < 60, "the README promises a minute"


def test_money_is_summed_to_the_cent(homes: Path, psp: Callable[..., Ran]) -> None:
    answered = psp("ask", QUESTION, "--json")
    assert answered.status == 0, answered.err
    answer = json.loads(answered.out)
    cents = sum(Decimal(lease).scaleb(-2) for lease in range(40))
    assert answer["rows"] == [
        [town, 40, str(40 * Decimal(1000 + 10 * number) + cents)]
        for number, town in enumerate(TOWNS)
    ]
    assert answer["states"] == {"answered": 3}
    assert answer["partial"] is False


def test_the_schema_that_nobody_approves_seals_nothing(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    refused = psp("estate", "new", "homes", "--from", *files, stdin="\n")
    assert refused.status == 1
    assert "not approved" in refused.sentence
    assert not (tmp_path / "homes").exists()


def test_a_column_that_is_not_there_is_named_and_a_near_one_offered(
    homes: Path, psp: Callable[..., Ran]
) -> None:
    refused = psp("ask", "select sum(rents) from homes")
    assert refused.status == 1
    assert "rents" in refused.sentence
    assert "did you mean" in refused.sentence.lower()
    assert "rent" in refused.sentence


def test_what_is_served_cannot_be_served_twice(homes: Path, psp: Callable[..., Ran]) -> None:
    refused = psp("up")
    assert refused.status == 1
    assert "serves it" in refused.sentence


def test_status_tells_who_is_away_and_what_to_do(
    psp: Callable[..., Ran], files: list[Path]
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    away = psp("status", "--json")
    assert away.status == 0, away.err
    report = json.loads(away.out)
    assert report["states"] == {"unreachable": 3}
    asked = psp("ask", QUESTION)
    assert asked.status == 1
    assert "psp status" in asked.sentence


@pytest.mark.parametrize("example", ["estate_blocking.py", "estate_async.py"])
def test_the_examples_run_and_are_short(example: str, files: list[Path]) -> None:
    path = Path(__file__).parents[2] / "examples" / example
    assert len(path.read_text("utf-8").splitlines()) <= 30
    done = subprocess.run(
        [sys.executable, path, *map(str, files)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    for town in TOWNS:
        assert town in done.stdout
    assert "3 answered" in done.stdout


def test_a_policy_that_is_edited_holds_from_the_next_renewal(
    homes: Path, psp: Callable[..., Ran]
) -> None:
    """The archives hold the ceiling; what is granted below it is the operator's to change."""
    estate = Estate.open(homes)
    policy = estate.layout.policy("owner")
    policy.write_text(policy.read_text("utf-8").replace("floor = 1", "floor = 41"), "utf-8")
    before = psp("ask", QUESTION, "--json")
    assert json.loads(before.out)["states"] == {"answered": 3}
    estate.renew_grants()
    after = psp("ask", QUESTION, "--json")
    assert json.loads(after.out)["states"] == {"suppressed": 3}


def test_a_policy_that_is_damaged_takes_no_grant_away(homes: Path, psp: Callable[..., Ran]) -> None:
    estate = Estate.open(homes)
    estate.layout.policy("owner").write_text("floor = ", "utf-8")
    with pytest.raises(EstateError, match="policy"):
        estate.renew_grants()
    assert psp("ask", QUESTION).status == 0
