"""Running every attack against one served member, over TLS, and telling what came of it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from psp.aggregator import Member
from psp.capability import CEILING_OPERATIONS, Pairing, decode_chain_untrusted
from psp.endpoint import Connection, connect
from psp.errors import ArchiveError, CallFailed, EstateError, NotPaired
from psp.estate import Estate
from psp.totebox import Shadow, manifest_of
from psp.transport import MachineKey

from ._calls import call_attacks
from ._forger import Forger, throwaway
from ._inference import FLOOR, inference_attacks
from ._judge import judge
from ._limits import CONNECT_S
from ._owner import RuleOf, owners_view
from ._report import AttackReport, Attempt
from ._scopes import pipelined_attack, scope_attacks
from ._tokens import TOKEN_ATTACKS, TokenAttack


def infer(
    estate: Estate, name: str, *, tenant: str | None = None, bare: bool = False
) -> AttackReport:
    """Attack one member with allowed questions alone: its rows and rules, asked without a trace.

    Args:
        bare: Without any policy: what each attack would find if nothing were held back.

    Raises:
        EstateError: No such member or tenant.
        ArchiveError: The archive is not on this machine, or nothing in it stands out.
    """
    member = _member(estate, name)
    asking = estate.roster.tenant(tenant)
    directory = estate.layout.archive(member.name)
    policy = estate.layout.policies([asking.name])[0]
    floor = 1 if bare else max(FLOOR, policy.floor, manifest_of(directory).floor)
    attempts = inference_attacks(
        lambda: Shadow(directory, estate.table, floor=1),
        lambda last: Shadow(directory, estate.table, floor=1, last=last),
        floor,
    )
    return AttackReport(member=name, attempts=attempts)


async def attack_member(estate: Estate, name: str, *, tenant: str | None = None) -> AttackReport:
    """Attack one served archive of an estate with the estate's own keys. Nothing is changed there.

    Args:
        tenant: Whose machine the thief has; by default the estate's first tenant.

    Raises:
        EstateError: No such member or tenant, or an honest grant is refused too, so that refusals
            would show nothing.
        Disconnected: The archive is not served, or this tenant is not paired with it.
    """
    member = _member(estate, name)
    asking = estate.roster.tenant(tenant)
    forger = _forger(estate, member, MachineKey.load(asking.key_file), asking.token_for(name))
    pairing = estate.layout.policies([asking.name])[0].pairing
    async with _reach(member, forger.thief) as connection:
        before = await _health(connection)
        await _check_honest(connection, forger)
        attempts = [await _as_a_stranger(member)]
        rule_of = owners_view(estate, member, forger.thief.spki_hash)
        for attack in TOKEN_ATTACKS:
            attempts.append(await _show(connection, forger, attack, rule_of))
        attempts += await scope_attacks(connection, forger, CEILING_OPERATIONS[Pairing(pairing)])
        attempts += await call_attacks(connection, lambda: _reach(member, forger.thief), forger)
        attempts.append(await pipelined_attack(connection, forger, FLOOR))
        after = await _health(connection)
    not_inferred = ""
    try:
        attempts += infer(estate, name, tenant=tenant).attempts
    except ArchiveError as exc:
        not_inferred = f"what follows from answers that are allowed: {exc}"
    return AttackReport(
        member=name,
        attempts=attempts,
        not_inferred=not_inferred,
        ledger_entries=after["tree_size"] - before["tree_size"],
        reads_recorded=after["reads"]["recorded"] - before["reads"]["recorded"],
    )


def _member(estate: Estate, name: str) -> Member:
    for one in estate.roster.members:
        if one.name == name:
            return one
    known = ", ".join(one.name for one in estate.roster.members[:5])
    raise EstateError(f"estate {estate.roster.name!r} has no member {name!r}; it has {known}")


def _forger(estate: Estate, member: Member, thief: MachineKey, token: bytes) -> Forger:
    given = decode_chain_untrusted(token).leaf
    table = estate.table
    others = [one for one in estate.roster.members if one.name != member.name]
    elsewhere = others[0].address.archive_id if others else secrets.token_bytes(32)
    return Forger(
        anchor=estate.grants.anchor,
        thief=thief,
        archive_id=member.address.archive_id,
        other_archive=elsewhere,
        epoch=given.epoch,
        table=table,
        columns=frozenset(estate.grants.tables[table].column_names),
    )


@asynccontextmanager
async def _reach(member: Member, key: MachineKey) -> AsyncIterator[Connection]:
    """Connect, and let an error come out as itself."""
    async with connect(member.address, key=key, timeout_s=CONNECT_S) as connection:
        yield connection


async def _health(connection: Connection) -> Mapping[str, Any]:
    found: Mapping[str, Any] = await connection.bootstrap.call("health")
    return found


async def _check_honest(connection: Connection, forger: Forger) -> None:
    """Show a grant with nothing wrong: were it refused, every refusal would be an accident."""
    try:
        await connection.present(forger.honest()).call("describe")
    except CallFailed as exc:
        raise EstateError(
            f"an honest grant was made to compare with, and this archive said {exc.word}, so its"
            " refusals would show nothing. Look at its log, where psp up runs, and at its state"
        ) from exc


async def _as_a_stranger(member: Member) -> Attempt:
    async def knock() -> None:
        async with _reach(member, throwaway()) as connection:
            await _health(connection)

    return await judge(
        "unpaired machine",
        "a handshake with a key that nobody has paired",
        knock,
        rule="pairing",
        refusals=(NotPaired,),
    )


async def _show(
    connection: Connection, forger: Forger, attack: TokenAttack, rule_of: RuleOf
) -> Attempt:
    token = attack.make(forger)
    rule = rule_of(token)
    return await judge(
        attack.name,
        attack.tried,
        lambda: _present(connection, token),
        rule=rule or "one of those for tokens",
        rule_seen_from="owner" if rule else "outside",
    )


async def _present(connection: Connection, token: bytes) -> None:
    await connection.present(token)
