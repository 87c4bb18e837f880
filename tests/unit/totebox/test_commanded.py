"""Commands under a grant: each right, each refusal, once for each key, an entry for each."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
import trio
import trio.testing

from psp.capability import (
    CommandKey,
    Operation,
    Revokes,
    Scope,
    TableRule,
    between,
    issue,
    sign_invocation,
    sign_revocation,
    sign_transition,
)
from psp.endpoint import Exposed, method
from psp.errors import (
    ArchiveError,
    BudgetSpent,
    CapabilityError,
    Denied,
    Expired,
    HandlerFailed,
    Invalid,
    Overloaded,
    Revoked,
    Unimplemented,
)
from psp.totebox import State
from psp.totebox._command_memory import CommandMemory
from psp.totebox._entries import encode_entry
from psp.totebox._limits import (
    APPEND_BYTES_MAX,
    COMMAND_KEPT_S,
    COMMANDS_SCANNED_AT_A_TIME,
)
from psp.totebox._owner import heed_untrusted
from psp.totebox._service import Desk
from psp.transport import Peer
from psp.values import Value

from .commanding import (
    ALL,
    MACHINES,
    MORE,
    START_S,
    WRITER,
    Clock,
    Served,
    command,
    found,
    key,
    rows_file,
    serving,
)
from .conftest import CSV, NOW, OWNER, call_on, machine, stored

LIFE = {"archive": frozenset({"audit", "resume", "suspend"})}


@pytest.fixture
def box(tmp_path: Path) -> Path:
    return found(tmp_path)


@pytest.fixture
def served(box: Path) -> Iterator[Served]:
    with serving(box) as opened:
        yield opened


async def test_each_command_leaves_one_entry_that_says_who_and_under_which_grant(
    served: Served,
) -> None:
    grant = served.grant()
    before = len(served.entries())
    await command(grant, "append", rows_file())
    await command(grant, "append", rows_file("a note", "note.txt", "documents"))
    await command(grant, "audit")
    await command(grant, "suspend")
    await command(grant, "resume")

    entries = served.entries()[before:]
    assert [it["kind"] for it in entries] == ["ingested", "document", "audited", "state", "state"]
    asked = [it["asked"] for it in entries]
    assert [it["command"] for it in asked] == ["append", "append", "audit", "suspend", "resume"]
    admin = MACHINES["ADMIN"]
    for entry in entries:
        assert entry["operator"] == "admin"
        assert entry["asked"]["presenter"] == admin.spki_hash.hex()
        assert entry["asked"]["holder"] == admin.public_bytes.hex()
        assert entry["asked"]["grant"] == grant._grant.grant_id.hex()
    assert len({it["key"] for it in asked}) == 5


async def test_an_outcome_tells_what_its_entry_says_and_not_the_findings_words(
    served: Served,
) -> None:
    grant = served.grant()
    appended = await command(grant, "append", rows_file())
    audited = await command(grant, "audit", {"sample": 1})
    suspended = await command(grant, "suspend")

    assert appended["facts"] == {"table": "sales", "rows": 2, "bytes": len(MORE)}
    assert audited["facts"] == {
        "worst": "well",
        "tree_size": appended["entry"] + 1,
        "assets_sealed": 2,
        "assets_read": 1,
        "findings_by_part": {},
    }
    assert suspended["facts"] == {"before": "active", "after": "suspended"}
    assert [it["entry"] for it in (appended, audited, suspended)] == [8, 9, 10]


async def test_appended_rows_are_there_for_whoever_asks(served: Served) -> None:
    await command(served.grant("INPUT"), "append", rows_file())
    assert [row[0] for row in stored(served.archive)] == ["0016", "0017", "0018", "0019", "0020"]


async def test_an_audit_finds_damage_and_puts_its_words_on_record(served: Served) -> None:
    (asset,) = (served.archive.directory / "assets").iterdir()
    os.chmod(asset, 0o644)  # noqa: PTH101
    asset.write_bytes(CSV.replace("538000", "999999").encode())

    done = await command(served.grant(), "audit")

    assert done["facts"]["worst"] == "damage"
    assert done["facts"]["findings_by_part"] == {"assets": "damage"}
    assert str(asset) not in repr(done)
    (entry,) = served.commanded()
    (finding,) = entry["findings"]
    assert finding[:2] == ["assets", "damage"]
    assert "has changed" in finding[2]


@pytest.mark.parametrize("machine", ["INPUT", "USER", "INTERFACE"])
@pytest.mark.parametrize("name", ["audit", "suspend", "resume"])
@pytest.mark.parametrize("preview", [True, False])
async def test_only_an_admin_pairing_changes_an_archive_whatever_was_signed(
    served: Served, machine: str, name: str, preview: bool
) -> None:
    scope = Scope({"sales": replace(WRITER, operations=frozenset(Operation), rows_max=1)}, LIFE)
    with pytest.raises(Denied):
        await served.grant(machine, scope).do(name, {}, key(), preview)
    assert served.commanded() == []


@pytest.mark.parametrize("machine", ["USER", "INTERFACE"])
async def test_only_input_and_admin_append_whatever_was_signed(
    served: Served, machine: str
) -> None:
    scope = Scope({"sales": replace(WRITER, operations=frozenset(Operation), rows_max=1)}, LIFE)
    with pytest.raises(Denied):
        await served.grant(machine, scope).do("append", rows_file(), key())
    assert served.commanded() == []


@pytest.mark.parametrize("preview", [True, False])
async def test_what_a_grant_does_not_name_is_denied_in_the_words_of_what_is_not_there(
    served: Served, preview: bool
) -> None:
    narrow = served.grant(scope=Scope({"sales": WRITER}, {"archive": frozenset({"audit"})}))
    said = set()
    for name, given in (
        ("suspend", {}),
        ("append", rows_file(table="documents")),
        ("append", rows_file(table="nowhere")),
    ):
        with pytest.raises(Denied) as raised:
            await narrow.do(name, given, key(), preview)
        said.add(str(raised.value))
    assert len(said) == 1
    assert served.commanded() == []


@pytest.mark.parametrize(
    "rule",
    [
        replace(WRITER, rows={"price": between(None, 300_000)}),
        replace(WRITER, output=frozenset({"id", "date", "price"})),
    ],
)
async def test_a_grant_for_a_part_of_a_table_appends_nothing_to_it(
    served: Served, rule: TableRule
) -> None:
    with pytest.raises(Invalid, match="a part of 'sales'"):
        await served.grant(scope=Scope({"sales": rule})).do("append", rows_file(), key())
    assert served.commanded() == []


@pytest.mark.parametrize("name", ["audit", "suspend", "append"])
async def test_the_same_key_gives_the_same_outcome_and_has_no_second_effect(
    box: Path, name: str
) -> None:
    given, used = (rows_file() if name == "append" else {}), key()
    with serving(box) as first:
        done = await command(first.grant(), name, given, used)
        again = await command(first.grant(), name, given, used)
        size = len(first.entries())
    with serving(box) as second:
        late = await command(second.grant(), name, given, used)
        assert (len(second.entries()), second.archive.manifest.transitions) == (
            size,
            name == "suspend",
        )
    assert done == {**again, "repeated": False} == {**late, "repeated": False}
    assert again["repeated"] is late["repeated"] is True


async def test_of_attempts_side_by_side_one_does_it(served: Served) -> None:
    used, told = key(), list[dict[str, Any]]()

    async def attempt() -> None:
        told.append(await command(served.grant(), "append", rows_file(), used))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(attempt)
    assert sorted(one["repeated"] for one in told) == [False, True, True, True, True]
    assert len({one["entry"] for one in told}) == len(served.commanded()) == 1


async def test_a_key_is_remembered_by_the_ledger_where_the_file_has_forgotten_it(
    box: Path,
) -> None:
    used = key()
    with serving(box) as served:
        await command(served.grant(), "append", rows_file(), used)
        await command(served.grant(), "audit")  # Now the file has it.
        file = served.archive.memory.state()
        assert file.execute("SELECT count(*) FROM commanded") == [(1,)]
        with file.writing():
            file.execute("DELETE FROM commanded")
            file.set_fact("commanded_size", 0)
        again = await command(served.grant(), "append", rows_file(), used)
    assert again["repeated"] is True


async def test_the_same_key_for_another_request_is_refused(served: Served) -> None:
    """Attack 13: one key, and another command under it."""
    grant, used = served.grant(), key()
    await command(grant, "append", rows_file(), used)
    for name, given in (("append", rows_file(MORE.replace("4", "5"))), ("audit", {})):
        with pytest.raises(Invalid, match="has done something else here, as entry 8"):
            await command(grant, name, given, used)
    assert len(served.commanded()) == 1


async def test_a_key_is_its_holders_alone(served: Served) -> None:
    """Attack 13: one key, and another holder who has seen it."""
    used = key()
    mine = await command(served.grant(), "audit", key=used)
    theirs = await command(served.grant("other"), "suspend", key=used)
    assert (mine["repeated"], theirs["repeated"]) == (False, False)
    assert [it["operator"] for it in served.commanded()] == ["admin", "other"]


async def test_a_refused_command_uses_up_no_key(served: Served) -> None:
    grant, used = served.grant(), key()
    with pytest.raises(Invalid, match="not a decimal number"):
        await command(grant, "append", rows_file(MORE.replace("300000", "dear")), used)
    assert (await command(grant, "append", rows_file(), used))["repeated"] is False


async def test_a_refusal_has_the_files_words_and_no_path_of_the_archives(served: Served) -> None:
    with pytest.raises(Invalid) as raised:
        await served.grant().do("append", rows_file(MORE.replace("300000", "dear")), key())
    assert str(raised.value) == (
        "more.csv: 1 row refused, nothing sealed. line 2, column 'price': the cell has the form"
        " 'aaaa', which is not a decimal number such as 1234.50. Correct the file."
    )
    assert str(served.archive.directory) not in str(raised.value)
    assert list((served.archive.directory / "app-console-input").iterdir()) == []
    assert len(stored(served.archive)) == 3


async def test_what_changes_nothing_is_on_record_too_and_cannot_change_something_later(
    served: Served,
) -> None:
    grant, resumed, appended = served.grant(), key(), key()
    nothing = await command(grant, "resume", key=resumed)
    once = await command(grant, "append", rows_file())
    again = await command(grant, "append", rows_file(), appended)
    await command(grant, "suspend")

    assert (nothing["kind"], nothing["facts"]) == ("unchanged", {"state": "active"})
    assert (again["kind"], again["facts"]) == ("unchanged", {"sealed_by": once["entry"]})
    assert (await command(grant, "resume", key=resumed))["repeated"] is True
    assert served.archive.manifest.state is State.SUSPENDED


def content(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


async def test_a_preview_says_what_would_be_done_and_changes_no_byte(served: Served) -> None:
    grant, before = served.grant(), content(served.archive.directory)
    asked: list[tuple[str, dict[str, Value]]] = [
        ("audit", {"sample": 3}),
        ("suspend", {}),
        ("resume", {}),
        ("append", rows_file()),
    ]
    previews: list[Any] = [await grant.do(name, given, key(), True) for name, given in asked]
    assert [it["would"] for it in previews] == [
        "audit: hash 3 originals, check the ledger of 8 entries",
        "become suspended; it is active",
        "nothing: it is active already; an entry says so",
        "seal more.csv (70 bytes) into sales",
    ]
    assert [it["right"] for it in previews] == [
        "audit of the object archive",
        "suspend of the object archive",
        "resume of the object archive",
        "append to the table sales",
    ]
    assert content(served.archive.directory) == before


async def test_a_long_ledger_is_read_for_one_preview_and_not_for_each(served: Served) -> None:
    odd = [encode_entry("retracted-words", NOW, {"operator": "jane"})] * (
        COMMANDS_SCANNED_AT_A_TIME + 1
    )
    served.archive.ledger.append(odd)
    memory = CommandMemory(served.archive.memory.state(), served.archive.ledger)
    seen: list[Any] = [memory.is_far_behind]
    seen.append((await served.grant().do("audit", {}, key(), True))["done"])
    seen.append(memory.is_far_behind)
    assert seen == [True, None, False]


async def test_a_preview_tells_that_its_key_has_done_it(served: Served) -> None:
    grant, used = served.grant(), key()
    done = await command(grant, "suspend", key=used)
    seen: Any = await grant.do("suspend", {}, used, True)
    assert (seen["done"], seen["would"]) == (
        done["entry"],
        f"nothing: this key has done it, as entry {done['entry']}",
    )


async def test_a_suspended_archive_is_audited_and_resumed_and_takes_nothing(
    served: Served,
) -> None:
    grant = served.grant()
    await command(grant, "suspend")
    with pytest.raises(Invalid, match="only an active one takes files"):
        await command(grant, "append", rows_file())
    with pytest.raises(Invalid, match="it takes no files"):
        await grant.do("append", rows_file(), key(), True)
    assert (await command(grant, "audit"))["facts"]["worst"] == "well"
    await command(grant, "resume")
    assert served.archive.manifest.state is State.ACTIVE


async def test_no_chain_of_commands_gets_past_a_suspension(served: Served) -> None:
    """Neither behind one that is done in any state nor in front of it."""
    grant = served.grant()
    await command(grant, "suspend")
    allowed: list[Any] = [["reads", []], ["do", ["audit", {}, key(), True]]]
    table: Any = ["table", ["sales"]]
    for first in allowed:
        with pytest.raises(Invalid, match="nothing to be called on"):
            await grant.run([first, table, ["describe", []]])
    for chain in ([["describe", []]], *([table, last] for last in allowed)):
        with pytest.raises(Denied, match="suspended"):
            await grant.run(chain)
        with pytest.raises(Denied, match="suspended"):
            grant.check(call_on(grant, "run", [chain]))


async def test_a_transition_needs_the_signature_of_the_grants_holder(served: Served) -> None:
    grant = served.grant()
    with pytest.raises(Invalid, match="without the transition"):
        await grant.do("suspend", {}, key())
    for signer in (MACHINES["other"], OWNER.root):
        statement = sign_transition(
            signer, archive_id=OWNER.archive_id, number=1, before="active", after="suspended"
        )
        with pytest.raises(Invalid, match="no key signed it that may"):
            await grant.do("suspend", {}, key(), False, statement)
    assert served.commanded() == []


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("suspend", "active", "archived"), ("resume", "suspended", "archived")],
)
async def test_a_grant_to_suspend_or_resume_closes_no_archive_for_ever(
    served: Served, name: str, before: str, after: str
) -> None:
    if before == "suspended":
        await command(served.grant(), "suspend")
    narrow = served.grant(scope=Scope({}, {"archive": frozenset({name})}))
    statement = sign_transition(
        MACHINES["ADMIN"],
        archive_id=OWNER.archive_id,
        number=served.archive.manifest.transitions + 1,
        before=before,
        after=after,
    )
    entries = len(served.entries())
    with pytest.raises(Invalid, match="it leads to archived"):
        await narrow.do(name, {}, key(), False, statement)
    assert served.archive.manifest.state.value == before
    assert len(served.entries()) == entries


async def test_a_key_that_may_be_forgotten_is_refused_for_ever(box: Path) -> None:
    clock, used = Clock(), key()
    with serving(box, clock) as served:
        await command(served.grant(), "append", rows_file(), used)
        await command(served.grant(), "suspend")
        clock.wall_s += COMMAND_KEPT_S + 3600
        await command(served.grant(), "resume", key=key(int(clock.wall_s)))
        assert served.archive.memory.state().execute("SELECT count(*) FROM commanded") == [(0,)]
        with pytest.raises(Invalid, match="made over 24 hours ago"):
            await command(served.grant(), "append", rows_file(), used)
        # The owner sets the clock back: what was dropped stays refused.
        served.archive.memory._clock_s = clock.wall_s = START_S + 60
        with pytest.raises(Invalid, match="made over 24 hours ago"):
            await command(served.grant(), "append", rows_file(), used)
    assert len(served.logged) == 0


async def test_an_old_key_is_refused_also_where_nothing_was_done_under_it(served: Served) -> None:
    for preview in (True, False):
        with pytest.raises(Invalid, match="made over 24 hours ago"):
            await served.grant().do("audit", {}, key(START_S - COMMAND_KEPT_S), preview)
    done = await served.grant().do("audit", {}, key(START_S - COMMAND_KEPT_S + 1))
    assert done["repeated"] is False


async def test_a_key_of_the_future_is_refused(served: Served) -> None:
    with pytest.raises(Invalid, match="of the future: 31 seconds"):
        await served.grant().do("audit", {}, key(START_S + 31))
    assert (await served.grant().do("audit", {}, key(START_S + 30)))["repeated"] is False


async def test_a_holder_is_refused_where_no_more_could_be_remembered(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psp.totebox._command_memory.COMMANDS_REMEMBERED_MAX", 2)
    used = key()
    await command(served.grant(), "resume", key=used)
    await command(served.grant(), "resume")
    with pytest.raises(Overloaded, match="2 commands of this holder"):
        await command(served.grant(), "resume")
    assert (await command(served.grant(), "resume", key=used))["repeated"] is True
    await command(served.grant("other"), "resume")


async def test_more_rows_than_a_grant_lets_be_appended_are_refused(served: Served) -> None:
    few = served.grant(scope=Scope({"sales": replace(WRITER, rows_max=1)}))
    with pytest.raises(Invalid, match="has 2 rows, and the grant lets 1 be appended"):
        await command(few, "append", rows_file())
    assert len(stored(served.archive)) == 3


HOSTILE = (
    "PK\x03\x04 a workbook",
    "PAR1 a table",
    '{"id": ' * 9_000,
    '{"id": "1", "date": "2014-07-01", "price": 1e999999999, "rooms": 1}\n',
    '{"id": "1", "date": "2014-07-01", "price": 1, "rooms": ' + "9" * 5_000 + "}\n",
    "id,date,price,rooms\n" + '"' * 90_001,
    "id,date,price,rooms\n1,2014-07-01," + "9" * 50_000 + ",1\n",
    "\0" * 1_000,
    "",
)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_strangers_file_is_refused_in_words_and_leaves_nothing(
    served: Served, text: str
) -> None:
    with pytest.raises(Invalid) as raised:
        await command(served.grant("INPUT"), "append", rows_file(text))
    assert len(str(raised.value)) <= 600
    assert served.commanded() == []
    assert (len(stored(served.archive)), served.logged) == (3, [])


async def test_any_file_is_a_document_whatever_it_would_be_as_rows(served: Served) -> None:
    given = rows_file("PK\x03\x04 a workbook", "book.xlsx", "documents") | {"kind": "invoice"}
    assert (await command(served.grant("INPUT"), "append", given))["kind"] == "document"
    with pytest.raises(Invalid, match="date"):
        await command(served.grant("INPUT"), "append", given | {"date": "soon"})


async def test_an_append_is_one_use_of_a_budget_and_its_repetition_is_none(
    served: Served,
) -> None:
    grant = served.grant(scope=Scope({"sales": replace(WRITER, uses_total=1)}))
    used = key()
    await command(grant, "append", rows_file(), used)
    assert (await command(grant, "append", rows_file(), used))["repeated"] is True
    with pytest.raises(BudgetSpent):
        await command(grant, "append", rows_file(MORE.replace("001", "003")))
    assert len(served.commanded()) == 1


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("melt", {}, "there is no command 'melt'"),
        ("suspend", {"x": 1}, "came with 'x'"),
        ("audit", {"sample": "all"}, "came with 'sample'"),
        ("audit", {"sample": True}, "came with 'sample'"),
        ("audit", {"sample": 0}, "a sample of 0"),
        ("append", {"table": "sales", "file": "x.csv"}, "came with no content"),
        ("append", rows_file("x" * (APPEND_BYTES_MAX + 1)), "a call brings 196,608"),
        ("append", rows_file(name="../x.csv"), "a name that is none"),
        ("append", rows_file(name=".x"), "a name that is none"),
        ("append", rows_file(name="a\nb"), "a name that is none"),
        ("append", rows_file(name="x" * 201), "a name that is none"),
    ],
)
async def test_what_is_no_command_is_refused_in_words(
    served: Served, name: str, given: dict[str, Value], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        await served.grant().do(name, given, key())
    assert served.commanded() == []


@pytest.mark.parametrize("wrong", [b"", bytes(23), bytes(25), b"\xff" * 24])
async def test_what_is_no_key_is_refused(served: Served, wrong: bytes) -> None:
    with pytest.raises(Invalid, match="a command's key"):
        await served.grant().do("audit", {}, wrong)


async def test_under_an_interactive_grant_the_console_signs_each_attempt(served: Served) -> None:
    console, aggregator = machine(), MACHINES["ADMIN"]
    shown = issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=console.public_bytes,
        presenter=aggregator.spki_hash,
        scope=ALL,
        not_before_s=START_S,
        not_after_s=START_S + 600,
        depth=0,
        nonce=bytes(16),
    )
    peer = Peer(aggregator.spki_hash, aggregator.public_bytes, "admin")
    grant = served.desk.present(peer, shown)
    arguments: list[Any] = ["audit", {}, key()]

    def signed(nonce: int) -> bytes:
        return sign_invocation(
            console,
            archive_id=OWNER.archive_id,
            grant_id=grant._grant.grant_id,
            commands=[("do", arguments)],
            nonce=nonce.to_bytes(16),
            issued_s=START_S + 3,
            expires_s=START_S + 60,
        )

    served.desk.clocks.wall_s += 3  # type: ignore[attr-defined]  # An archive refuses its first two.
    with pytest.raises(Denied):
        grant.check(call_on(grant, "do", arguments))
    outcomes = []
    for nonce in range(2):
        grant.check(call_on(grant, "do", arguments, signed(nonce)))
        outcomes.append(await grant.do(*arguments))
    with pytest.raises(Denied):
        grant.check(call_on(grant, "do", arguments, signed(0)))
    with pytest.raises(Denied):
        grant.check(call_on(grant, "do", ["suspend", {}, arguments[2]], signed(3)))
    assert [one["repeated"] for one in outcomes] == [False, True]
    (entry,) = served.commanded()
    assert entry["asked"]["holder"] == console.public_bytes.hex()


async def test_a_grant_that_ends_while_its_command_waits_does_nothing(served: Served) -> None:
    grant, changes = served.grant(), served.desk.changes
    assert changes is not None

    async def ask() -> None:
        with pytest.raises(Revoked):
            await grant.do("audit", {}, key())

    async with trio.open_nursery() as nursery, changes.turn:
        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        statement = sign_revocation(
            OWNER.root,
            archive_id=OWNER.archive_id,
            what=Revokes.GRANT,
            target=grant._grant.grant_id,
            until_s=grant._grant.not_after_s,
        )
        heed_untrusted(served.archive, "revoked", statement, now=NOW)
    assert served.commanded() == []


async def test_a_grant_that_ends_while_the_ledger_is_read_does_nothing(box: Path) -> None:
    clock = Clock()
    with serving(box, clock) as served:
        grant = served.grant()
        threads = trio.to_thread.current_default_thread_limiter()

        async def ask() -> None:
            with pytest.raises(Expired):
                await grant.do("audit", {}, key())

        before, threads.total_tokens = threads.total_tokens, 1
        await threads.acquire_on_behalf_of("nobody")  # The command waits for a thread, in its turn.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            clock.wall_s += 25 * 3600
            clock.boot_s += 25 * 3600
            threads.release_on_behalf_of("nobody")
        threads.total_tokens = before
        assert served.commanded() == []


@pytest.mark.parametrize(
    "given",
    [
        {**rows_file(), "null": "x" * 70_000},
        {**rows_file("a note", "n.txt", "documents"), "counterparty": "x" * 70_000},
    ],
)
async def test_what_no_entry_could_hold_leaves_no_original_behind(
    served: Served, given: dict[str, Any]
) -> None:
    before, rows = sorted((served.archive.directory / "assets").iterdir()), stored(served.archive)
    with pytest.raises(Invalid, match="Say less about the file"):
        await served.grant().do("append", given, key())
    assert sorted((served.archive.directory / "assets").iterdir()) == before
    assert (stored(served.archive), served.commanded(), served.logged) == (rows, [], [])


async def test_a_transition_holds_from_its_entry_on_though_the_index_cannot_follow(
    box: Path,
) -> None:
    used = key()
    with serving(box) as served:
        grant = served.grant()
        index = apsw.Connection(str(served.archive.index_path))
        index.execute("BEGIN IMMEDIATE")  # As a copy by another program holds it.
        with pytest.raises(apsw.BusyError):
            await command(grant, "suspend", key=used)
        index.execute("ROLLBACK")
        index.close()
        assert served.archive.manifest.state is State.SUSPENDED
        with pytest.raises(HandlerFailed):
            await grant.do("resume", {}, key())
        assert [entry["kind"] for entry in served.commanded()] == ["state"]
    with serving(box) as served:
        assert served.archive.manifest.state is State.SUSPENDED
        assert (await command(served.grant(), "suspend", key=used))["repeated"] is True


async def test_the_owners_log_alone_says_what_the_disk_has_refused(served: Served) -> None:
    assets = served.archive.directory / "assets"
    assets.rename(assets.with_name("gone"))
    with pytest.raises(HandlerFailed) as raised:
        await served.grant().do("append", rows_file(), key())
    assets.with_name("gone").rename(assets)
    assert str(served.archive.directory) not in str(raised.value)
    assert "append for admin was not done" in served.logged[0]
    assert str(assets) in served.logged[0]
    assert (await served.grant().do("append", rows_file(), key()))["repeated"] is False


async def test_a_desk_that_nobody_changes_does_no_command(box: Path) -> None:
    with serving(box) as served:
        quiet = Served(served.archive, Desk(served.archive, list[str]().append, Clock()), [])
        with pytest.raises(Unimplemented):
            await quiet.grant().do("audit", {}, key())


class Mine(Exposed):
    @method
    def suspend(self) -> None: ...


@pytest.mark.parametrize("name", ["archive", "ledger"])
async def test_a_programs_object_cannot_lend_its_name_to_the_archives_own(
    box: Path, name: str
) -> None:
    with serving(box) as served, pytest.raises(ArchiveError, match="a name of the archive's own"):
        Desk(served.archive, list[str]().append, Clock(), objects={name: Mine()})


def test_an_entry_that_quotes_the_mark_is_no_command(box: Path) -> None:
    with serving(box) as served:
        odd = {"operator": 'a"asked":{', "reason": {"asked": {"key": "1"}}}
        served.archive.record(encode_entry("retracted-words", NOW, odd))
        memory = CommandMemory(served.archive.memory.state(), served.archive.ledger)
        memory.catch_up(START_S)
        assert memory.find(b"", CommandKey(1, bytes(16))) is None


def test_the_text_of_a_key_leads_back_to_it() -> None:
    one = CommandKey.from_bytes_untrusted(key())
    assert CommandKey.from_text_untrusted(f" {one}\n") == one
    for wrong in ("", "1-2", f"-{one}", f"{2**53}-{'0' * 32}", "٣-" + "0" * 32):
        with pytest.raises(CapabilityError):
            CommandKey.from_text_untrusted(wrong)


def test_all_scope_is_what_an_admin_pairing_may_be_granted(served: Served) -> None:
    assert served.grant()._scope.objects == ALL.objects
