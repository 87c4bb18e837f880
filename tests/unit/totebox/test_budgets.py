"""Total budgets: exactly so much and never more, over links, holders, races and crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from psp.capability import (
    Grant,
    Operation,
    Scope,
    TableRule,
    ceiling,
    issue,
    narrow,
    verify_untrusted,
)
from psp.errors import BudgetSpent, Denied, Overloaded
from psp.plan import Measure, Plan
from psp.totebox import Archive
from psp.totebox import _budgets as budgets_module
from psp.totebox._budgets import claim_of
from psp.transport import MachineKey

from .conftest import OWNER, machine
from .test_service import START_S, Bench, bench, values_of  # noqa: F401, values_of

COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),))
RULE = TableRule(
    operations=frozenset({Operation.COUNT, Operation.READ}),
    output=frozenset({"id", "price"}),
    filters=frozenset({"id"}),
    rows_max=10,
)
HOUSE, SUB = machine(), machine()


def first(
    rule: TableRule, *, nonce: int = 0, holder: MachineKey = HOUSE, lasts_s: int = 900
) -> bytes:
    return issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=holder.public_bytes,
        presenter=holder.spki_hash,
        scope=Scope({"sales": rule}),
        not_before_s=START_S,
        not_after_s=START_S + lasts_s,
        depth=1,
        nonce=nonce.to_bytes(16, "big"),
    )


def further(token: bytes, rule: TableRule, *, nonce: int, to: MachineKey = HOUSE) -> bytes:
    return narrow(
        token,
        HOUSE,
        holder=to.public_bytes,
        presenter=to.spki_hash,
        scope=Scope({"sales": rule}),
        not_before_s=START_S,
        not_after_s=START_S + 900,
        depth=0,
        nonce=nonce.to_bytes(16, "big"),
    )


@pytest.fixture
def paired(bench: Bench) -> Bench:  # noqa: F811
    bench.archive.pair("house", HOUSE.certificate_pem, "USER")
    bench.desk._ceilings[HOUSE.spki_hash] = ceiling(
        "USER", {"sales": ("id", "date", "price", "rooms")}, 1
    )
    return bench


async def ask(bench: Bench, token: bytes) -> None:  # noqa: F811
    await bench.present(HOUSE, token).table("sales").query(COUNT.to_wire())


async def asked(bench: Bench, tokens: Sequence[bytes]) -> int:  # noqa: F811
    """Ask once with each token, all at the same time; say how many were answered."""
    answered = 0

    async def one(token: bytes) -> None:
        nonlocal answered
        try:
            await ask(bench, token)
        except BudgetSpent:
            return
        answered += 1

    async with trio.open_nursery() as nursery:
        for token in tokens:
            nursery.start_soon(one, token)
    return answered


async def test_a_hundred_calls_at_once_over_ten_narrower_grants_share_one_budget(
    paired: Bench,
) -> None:
    """Attack 15: a race must not multiply a budget, nor sub-issuing."""
    token = first(replace(RULE, uses_total=37))
    narrower = [further(token, replace(RULE, uses_total=30), nonce=number) for number in range(10)]

    assert await asked(paired, narrower * 10) == 37


async def test_a_narrower_budget_is_counted_by_itself(paired: Bench) -> None:
    token = first(replace(RULE, uses_total=20))
    narrower = further(token, replace(RULE, uses_total=3), nonce=1)

    assert await asked(paired, [narrower] * 5) == 3
    assert await asked(paired, [token] * 30) == 17


async def test_issuing_again_to_the_same_holder_gives_no_second_budget(paired: Bench) -> None:
    rule = replace(RULE, uses_total=4)

    assert await asked(paired, [first(rule, nonce=number) for number in range(8)]) == 4


async def test_a_budget_is_whole_again_when_the_grant_before_is_over(paired: Bench) -> None:
    rule = replace(RULE, uses_total=2)
    assert await asked(paired, [first(rule, lasts_s=60)] * 3) == 2
    paired.clock.wall_s += 60 + 120
    paired.archive.memory.save(paired.clock.wall_s)

    assert await asked(paired, [first(rule, nonce=1)] * 3) == 2


async def test_asking_for_a_row_that_is_not_there_is_counted(paired: Bench) -> None:
    token = first(replace(RULE, rows_total=2))
    table = paired.present(HOUSE, token).table("sales")

    with pytest.raises(Denied):
        await table.row(["none"])  # type: ignore[misc]
    assert (await values_of(await table.row(["0016"])))["id"] == "0016"  # type: ignore[misc]
    with pytest.raises(BudgetSpent, match="budget of rows for the table 'sales'"):
        await table.row(["0016"])  # type: ignore[misc]


async def test_an_answer_that_does_not_fit_what_is_left_of_the_bytes_stays_here(
    paired: Bench,
) -> None:
    table = paired.present(HOUSE, first(replace(RULE, bytes_total=300))).table("sales")
    recorded = paired.desk.reads.recorded

    while paired.desk.counters.result_bytes < 200:
        await table.query(COUNT.to_wire())
    with pytest.raises(BudgetSpent, match="budget of bytes"):
        await table.query(COUNT.to_wire())
    answers = paired.desk.reads.recorded - recorded
    assert 0 < paired.desk.counters.result_bytes <= 300
    assert 0 < answers <= 3


async def test_a_grant_without_a_budget_costs_nothing_and_is_written_nowhere(
    paired: Bench,
) -> None:
    await ask(paired, first(RULE))

    assert paired.archive.memory._file.execute("SELECT * FROM spent") == []


async def test_a_holder_cannot_fill_the_memory_with_budgets(
    paired: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets_module, "BUDGET_LINES_OF_GRANT_MAX", 4)
    token = first(RULE)
    for number in range(4):
        await ask(paired, further(token, replace(RULE, uses_total=9), nonce=number))
    with pytest.raises(Overloaded, match="budgets were made of one grant"):
        await ask(paired, further(token, replace(RULE, uses_total=9), nonce=4))


def grant_of(token: bytes, archive: Archive) -> Grant:
    return verify_untrusted(
        token,
        anchor=archive.anchor,
        presenter=HOUSE.spki_hash,
        ceiling=ceiling("USER", {"sales": ("id", "date", "price", "rooms")}, 1),
        now_s=START_S,
    )


def test_a_clean_end_loses_nothing_of_a_block(tmp_path: Path) -> None:
    token = first(replace(RULE, uses_total=160))
    with OWNER.found(tmp_path / "box") as archive:
        claim = claim_of(grant_of(token, archive), "sales")
        assert claim is not None
        archive.memory.budgets.take(claim.amounts(uses=1))
    with Archive.open(tmp_path / "box") as archive:
        archive.memory.budgets.take(claim.amounts(uses=159))
        with pytest.raises(BudgetSpent):
            archive.memory.budgets.take(claim.amounts(uses=1))


SPENDER = """
import os
import sys
from pathlib import Path
from psp.errors import BudgetSpent
from psp.totebox import Archive
from psp.totebox._budgets import Claim, Limit

limit = Limit(bytes(32), "uses sales", bytes(32), bytes(32), 2**40, int(sys.argv[2]))
with Archive.open(Path(sys.argv[1])) as archive:
    try:
        while True:
            archive.memory.budgets.take(Claim((("uses", limit),)).amounts(uses=1))
            os.write(1, b"u")
    except BudgetSpent:
        os.write(1, b".")
"""


def test_a_killed_archive_never_gives_more_than_the_budget(tmp_path: Path) -> None:
    budget = 400
    OWNER.found(tmp_path / "box").close()
    used, kills, is_spent = 0, 0, False
    for _ in range(50):
        process = subprocess.Popen(
            [sys.executable, "-c", SPENDER, str(tmp_path / "box"), str(budget)],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        told = os.read(process.stdout.fileno(), 60)
        if kills < 4:
            process.send_signal(signal.SIGKILL)
            kills += 1
        told += process.stdout.read()
        process.wait()
        process.stdout.close()
        used += told.count(b"u")
        if is_spent := told.endswith(b"."):
            break

    assert is_spent
    assert 0 < used <= budget
    assert used >= budget - 4 * (budget // 16) - 4
