"""A console signs, an aggregator carries, an archive answers: over real sockets and TLS."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import trio

from psp.capability import (
    Command,
    Operation,
    Scope,
    TableRule,
    decode_chain_untrusted,
    issue,
    narrow,
    sign_invocation,
)
from psp.capability._limits import INVOCATION_LEEWAY_S
from psp.endpoint import Address, Connection, connect
from psp.errors import Denied, Invalid
from psp.plan import Measure, Plan
from psp.totebox import serve_archive
from psp.transport import MachineKey
from psp.values import Value
from psp.wire import decode_value_untrusted, encode_value
from tests.unit.totebox.conftest import OWNER, ingest, machine, write

COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),))
QUERY: list[Command] = [("table", ["sales"]), ("query", [COUNT.to_wire()])]
SCOPE = Scope(
    {
        "sales": TableRule(
            operations=frozenset({Operation.META, Operation.COUNT}),
            output=frozenset({"rooms"}),
            aggregates_only=True,
        )
    }
)


class Letter(NamedTuple):
    """What a console hands to an aggregator: bytes, and no key."""

    token: bytes
    commands: bytes
    invocation: bytes


@dataclass(frozen=True)
class Console:
    """An operator's console: it signs, and has no connection to any archive."""

    key: MachineKey
    token: bytes

    def write(self, commands: list[Command]) -> Letter:
        # As far ahead as it may be: an archive that has just started takes such calls first.
        now_s = int(time.time()) + INVOCATION_LEEWAY_S
        invocation = sign_invocation(
            self.key,
            archive_id=OWNER.archive_id,
            grant_id=decode_chain_untrusted(self.token).ids()[-1],
            commands=commands,
            nonce=secrets.token_bytes(16),
            issued_s=now_s,
            expires_s=now_s + 60,
        )
        carried: list[Value] = [[name, list(arguments)] for name, arguments in commands]
        return Letter(self.token, encode_value(carried), invocation)


async def deliver(connection: Connection, letter: Letter) -> Any:
    """What an aggregator does: everything in one flight."""
    commands: Any = decode_value_untrusted(letter.commands)
    grant = connection.present(letter.token)
    return await grant.call("run", commands, invocation=letter.invocation)


@pytest.fixture
def aggregator() -> MachineKey:
    return machine()


@pytest.fixture
def console(aggregator: MachineKey) -> Console:
    operator, key, now_s = machine(), machine(), int(time.time())
    first = issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=operator.public_bytes,
        presenter=operator.spki_hash,
        scope=SCOPE,
        depth=1,
        nonce=bytes(16),
        not_before_s=now_s,
        not_after_s=now_s + 600,
    )
    token = narrow(
        first,
        operator,
        holder=key.public_bytes,
        presenter=aggregator.spki_hash,
        scope=SCOPE,
        depth=0,
        nonce=bytes(16),
        not_before_s=now_s,
        not_after_s=now_s + 600,
    )
    return Console(key, token)


@asynccontextmanager
async def carrier(tmp_path: Path, aggregator: MachineKey) -> AsyncIterator[Connection]:
    """The aggregator's connection to an archive that takes signed calls by now."""
    with OWNER.found(tmp_path / "box") as archive:
        archive.pair("aggregator", aggregator.certificate_pem, "INTERFACE")
        ingest(archive, write(tmp_path / "in.csv"))
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            lambda task_status: serve_archive(
                tmp_path / "box", host="127.0.0.1", port=0, task_status=task_status
            )
        )
        served_s = int(time.time())
        while int(time.time()) <= served_s:  # noqa: ASYNC110 - A clock has no event.
            await trio.sleep(0.05)
        address = Address(OWNER.archive_id, host, port, OWNER.box.certificate_pem, "box")
        async with connect(address, key=aggregator) as connection:
            yield connection
        nursery.cancel_scope.cancel()


async def test_a_signed_call_is_answered_after_one_round_trip_and_once(
    tmp_path: Path, aggregator: MachineKey, console: Console
) -> None:
    """Attack 13: over real sockets, a letter that is delivered twice."""
    async with carrier(tmp_path, aggregator) as connection:
        letter = console.write(QUERY)
        answer = await deliver(connection, letter)

        assert answer["cells"] == [[[], [3]]]
        assert connection.statistics().round_trips == 1
        with pytest.raises(Denied):
            await deliver(connection, letter)
        assert (await deliver(connection, console.write(QUERY)))["cells"] == [[[], [3]]]


async def test_a_captured_aggregator_gets_nothing_that_was_not_signed(
    tmp_path: Path, aggregator: MachineKey, console: Console
) -> None:
    """Attack 18: other commands under a true signature, and true commands under another."""
    async with carrier(tmp_path, aggregator) as connection:
        letter = console.write(QUERY)
        other = letter._replace(commands=console.write([("describe", [])]).commands)
        forged = Console(aggregator, console.token).write(QUERY)
        grant = connection.present(letter.token)

        for attempt in (other, forged, letter._replace(token=b"\x90")):
            with pytest.raises(Denied):
                await deliver(connection, attempt)
        with pytest.raises(Denied):
            await grant.call("describe")
        with pytest.raises(Denied):
            await grant.call("describe", invocation=letter.invocation)
        with pytest.raises(Invalid, match="commands of run"):
            await grant.call("table", "sales", invocation=letter.invocation)
        # And it has used nothing up by trying.
        assert (await deliver(connection, letter))["cells"] == [[[], [3]]]


async def test_objects_stay_inside_a_signed_run(
    tmp_path: Path, aggregator: MachineKey, console: Console
) -> None:
    async with carrier(tmp_path, aggregator) as connection:
        with pytest.raises(Invalid, match="into the same commands"):
            await deliver(connection, console.write(QUERY[:1]))
