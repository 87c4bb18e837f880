"""What a grant with `asset` gets of a sealed document, and everybody else does not."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from psp.capability import Operation, Scope, TableRule, one_of
from psp.errors import BudgetSpent, Denied, Expired, HandlerFailed, Invalid, LimitExceeded
from psp.totebox import retract, seal_document
from psp.totebox._limits import ASSET_RANGE_BYTES_MAX
from psp.totebox._receipts import decode_read_untrusted
from psp.totebox._service import TableObject

from .conftest import NOW, machine
from .test_service import LASTS_S, Bench, bench

__all__ = ["bench"]

LETTER = bytes(range(256)) * 1000
HASH = hashlib.sha256(LETTER).hexdigest()
RULE = TableRule(
    operations=frozenset({Operation.ASSET}),
    output=frozenset({"name"}),
    filters=frozenset({"hash"}),
)


@pytest.fixture
def office(bench: Bench, tmp_path: Path) -> Bench:
    """The same archive with a sealed letter, and with its administrator's machine."""
    (tmp_path / "letter.pdf").write_bytes(LETTER)
    seal_document(bench.archive, tmp_path / "letter.pdf", operator="jane", now=NOW, kind="lease")
    bench.user = machine()
    bench.archive.pair("admin", bench.user.certificate_pem, "ADMIN")
    bench.desk.follow_pairings()
    return bench


def documents(bench: Bench, rule: TableRule = RULE) -> TableObject:
    token = bench.token(bench.user, Scope({"documents": rule, "sales": rule}))
    return bench.present(bench.user, token).table("documents")


async def test_a_document_comes_range_by_range_and_hashes_to_its_key(office: Bench) -> None:
    letter = await documents(office).asset([HASH])
    parts, at = [], 0
    while True:
        found = await letter.range(at, 100_000)
        assert (found["start"], found["size"]) == (at, len(LETTER))
        assert isinstance(found["bytes"], bytes)
        if not found["bytes"]:
            break
        parts.append(found["bytes"])
        at += len(found["bytes"])

    assert list(map(len, parts)) == [100_000, 100_000, 56_000]
    assert hashlib.sha256(b"".join(parts)).hexdigest() == HASH
    assert (await letter.range(2**63 - 1, 1))["bytes"] == b""


async def test_every_range_is_a_read_on_record_under_its_own_command(office: Bench) -> None:
    letter = await documents(office).asset([HASH])
    await letter.range(0, 10)
    await letter.range(10, 10)

    ledger = office.desk.reads._ledger
    reads = [decode_read_untrusted(it) for it in ledger.entries(0, ledger.checkpoint.tree_size)]
    assert [read.rows for read in reads] == [1, 1]
    assert len({read.command for read in reads}) == 2
    assert all(read.result is not None for read in reads)


HIDING = (
    replace(RULE, operations=frozenset({Operation.READ}), rows_max=1),
    replace(RULE, operations=frozenset({Operation.ASSET, Operation.COUNT}), aggregates_only=True),
    replace(RULE, rows={"kind": one_of(["invoice"])}),
    replace(RULE, rows={"kind": one_of(["lease"]), "date": one_of([NOW.date()])}),
)


@pytest.mark.parametrize("rule", HIDING)
async def test_what_the_scope_does_not_show_is_refused_like_what_is_not_there(
    office: Bench, rule: TableRule
) -> None:
    said = set()
    for key in (HASH, "0" * 64):
        with pytest.raises(Denied) as caught:
            await documents(office, rule).asset([key])
        said.add(str(caught.value))

    assert said == {Denied.default_text}


async def test_without_a_filter_on_the_key_nothing_is_said_about_keys(office: Bench) -> None:
    for key in (HASH, "0" * 64):
        with pytest.raises(Denied, match="does not filter on the key"):
            await documents(office, replace(RULE, filters=frozenset())).asset([key])


async def test_a_file_of_rows_is_no_document_whoever_asks(office: Bench) -> None:
    """It holds rows that the scope does not show."""
    token = office.token(office.user, Scope({"sales": replace(RULE, filters=frozenset({"id"}))}))
    with pytest.raises(Denied):
        await office.present(office.user, token).table("sales").asset(["0016"])


async def test_only_an_administrators_pairing_reads_documents(office: Bench) -> None:
    office.user = machine()
    office.archive.pair("reader", office.user.certificate_pem, "USER")
    office.desk.follow_pairings()

    with pytest.raises(Denied):
        await documents(office).asset([HASH])


async def test_a_retracted_document_is_not_there(office: Bench) -> None:
    retract(office.archive, "documents", [[HASH]], operator="jane", reason="wrong file", now=NOW)

    with pytest.raises(Denied):
        await documents(office).asset([HASH])


@pytest.mark.parametrize(
    ("start", "count"), [(-1, 10), (0, 0), (0, -1), (0, ASSET_RANGE_BYTES_MAX + 1), (2**63, 1)]
)
async def test_a_range_that_is_none_is_refused(office: Bench, start: int, count: int) -> None:
    letter = await documents(office).asset([HASH])
    with pytest.raises(Invalid, match="one call gives"):
        await letter.range(start, count)


@pytest.mark.parametrize("damage", ["gone", "shorter", "longer"])
async def test_a_damaged_document_is_told_to_the_owner_and_not_shown(
    office: Bench, damage: str
) -> None:
    letter = await documents(office).asset([HASH])
    path = office.archive.assets.path(bytes.fromhex(HASH))
    path.unlink()
    if damage != "gone":
        path.write_bytes(LETTER[:-1] if damage == "shorter" else LETTER + b"x")

    with pytest.raises(HandlerFailed) as caught:
        await letter.range(0, 10)
    assert str(path) not in str(caught.value)
    assert str(path) in office.logged[-1]


async def test_a_grant_that_is_over_gives_no_further_range(office: Bench) -> None:
    letter = await documents(office).asset([HASH])
    office.clock.boot_s += LASTS_S

    with pytest.raises(Expired):
        await letter.range(0, 10)


async def test_bytes_of_documents_count(office: Bench) -> None:
    narrow = await documents(office, replace(RULE, bytes_max=100)).asset([HASH])
    with pytest.raises(LimitExceeded):
        await narrow.range(0, 100)

    counted = await documents(office, replace(RULE, bytes_total=300)).asset([HASH])
    await counted.range(0, 150)
    with pytest.raises(BudgetSpent):
        await counted.range(150, 150)


async def test_a_question_about_a_document_counts_whether_it_is_there_or_not(office: Bench) -> None:
    table = documents(office, replace(RULE, uses_total=2))
    for _ in range(2):
        with pytest.raises(Denied):
            await table.asset(["0" * 64])
    with pytest.raises(BudgetSpent):
        await table.asset([HASH])
