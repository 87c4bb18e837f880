"""A console signs, an aggregator carries: what the archive lets through, and what comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from psp.capability import (
    Command,
    Scope,
    decode_chain_untrusted,
    issue,
    sign_invocation,
)
from psp.endpoint import Exposed
from psp.errors import Denied, Expired, Invalid, Overloaded
from psp.totebox import Archive
from psp.totebox._invocations import NONCES_OF_HOLDER_MAX
from psp.transport import MachineKey

from .conftest import OWNER, call_on, ingest, machine, write
from .test_service import COUNT, LASTS_S, PROVE, READER, START_S, Bench, peer

NOW = START_S + 10
QUERY: list[Command] = [("table", ["sales"]), ("query", [COUNT.to_wire()])]
DESCRIBE: list[Command] = [("describe", [])]


@dataclass
class Signed(Bench):
    """A served archive, an aggregator that is paired with it, and a console behind that."""

    console: MachineKey = field(default_factory=machine)
    _nonces: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clock.wall_s += NOW - START_S
        self.clock.boot_s += NOW - START_S
        self.interactive_token = issue(
            OWNER.anchor,
            archive_id=OWNER.archive_id,
            epoch=1,
            holder=self.console.public_bytes,
            presenter=self.user.spki_hash,
            scope=Scope({"sales": READER}, PROVE),
            not_before_s=START_S,
            not_after_s=START_S + LASTS_S,
            depth=0,
            nonce=bytes(16),
        )
        self.held = self.present(self.user, self.interactive_token)

    def sign(
        self,
        commands: Sequence[Command],
        *,
        token: bytes | None = None,
        key: MachineKey | None = None,
        issued_s: int = NOW,
    ) -> bytes:
        self._nonces += 1
        return sign_invocation(
            key or self.console,
            archive_id=OWNER.archive_id,
            grant_id=decode_chain_untrusted(token or self.interactive_token).ids()[-1],
            commands=commands,
            nonce=self._nonces.to_bytes(16, "big"),
            issued_s=issued_s,
            expires_s=issued_s + 60,
        )


def admit(held: Exposed, name: str, arguments: list[Any], invocation: bytes | None) -> None:
    """What every call must pass before it runs."""
    held.check(call_on(held, name, arguments, invocation))


def carried(commands: Sequence[Command]) -> list[Any]:
    """The arguments of the call of `run` that carries these commands."""
    return [[[name, list(arguments)] for name, arguments in commands]]


@pytest.fixture
def signed(tmp_path: Path, archive: Archive) -> Signed:
    ingest(archive, write(tmp_path / "in.csv"))
    return Signed(archive)


async def test_signed_commands_are_let_through_and_their_last_value_is_given(
    signed: Signed,
) -> None:
    admit(signed.held, "run", carried(QUERY), signed.sign(QUERY))

    answer: Any = await signed.held.run(*carried(QUERY))
    assert answer["cells"] == [[[], [3]]]


async def test_five_commands_lead_from_a_grant_to_a_proof(signed: Signed) -> None:
    commands: list[Command] = [
        *(("table", ["sales"]), ("row", [["0017"]]), ("original", []), ("proof", [])),
    ]
    admit(signed.held, "run", carried(commands), signed.sign(commands))

    proof: Any = await signed.held.run(*carried(commands))
    assert (proof["index"], proof["tree_size"]) == (1, 4)


def test_one_command_is_a_call_like_any_other(signed: Signed) -> None:
    admit(signed.held, "describe", [], signed.sign(DESCRIBE))
    admit(signed.held, "run", carried(DESCRIBE), signed.sign(DESCRIBE))


def test_a_call_without_an_invocation_is_denied(signed: Signed) -> None:
    for name, arguments in (("describe", []), ("run", carried(QUERY))):
        with pytest.raises(Denied) as refused:
            admit(signed.held, name, arguments, None)
        assert str(refused.value) == Denied.default_text


def test_the_same_bytes_are_let_through_once(signed: Signed) -> None:
    """Attack 13: the same invocation, on the same reference and on a second one."""
    data = signed.sign(QUERY)
    admit(signed.held, "run", carried(QUERY), data)

    again = signed.present(signed.user, signed.interactive_token)
    for held in (signed.held, again):
        with pytest.raises(Denied):
            admit(held, "run", carried(QUERY), data)
    assert "used before" in signed.logged[-1]


def test_a_captured_aggregator_can_originate_nothing(signed: Signed) -> None:
    """It holds its own key, the token, and a signed call that it has not sent yet."""
    data = signed.sign(QUERY)
    other: list[Command] = [("table", ["sales"]), ("row", [["0016"]]), ("values", [])]

    attempts: list[tuple[str, list[Any], bytes]] = [
        ("run", carried(other), data),
        ("run", carried(other), signed.sign(other, key=signed.user)),
        ("run", carried(QUERY[:1]), data),
        ("describe", [], data),
    ]
    for name, arguments, invocation in attempts:
        with pytest.raises(Denied):
            admit(signed.held, name, arguments, invocation)
    # What was refused is not used up: the console's own call still works.
    admit(signed.held, "run", carried(QUERY), data)


def test_a_held_back_call_is_worth_nothing_after_a_minute(signed: Signed) -> None:
    data = signed.sign(QUERY)
    signed.clock.wall_s += 60

    with pytest.raises(Denied):
        admit(signed.held, "run", carried(QUERY), data)


def test_what_was_signed_before_the_start_is_refused(signed: Signed) -> None:
    """Attack 13: the archive crashed, and remembers no nonce of the run before."""
    for issued_s in (START_S - 5, START_S, START_S + 2):
        with pytest.raises(Denied):
            admit(signed.held, "describe", [], signed.sign(DESCRIBE, issued_s=issued_s))
    admit(signed.held, "describe", [], signed.sign(DESCRIBE, issued_s=START_S + 3))


def test_no_reference_is_given_out_under_a_grant_whose_calls_are_signed(signed: Signed) -> None:
    table: list[Command] = [("table", ["sales"])]

    with pytest.raises(Invalid, match="commands of run"):
        admit(signed.held, "table", ["sales"], signed.sign(table))


async def test_a_run_that_ends_with_a_reference_is_invalid(signed: Signed) -> None:
    with pytest.raises(Invalid, match="into the same commands"):
        await signed.held.run([["table", ["sales"]]])


def test_a_grant_of_its_presenter_needs_no_invocation_and_ignores_none(signed: Signed) -> None:
    token = signed.token(signed.user, Scope({"sales": READER}))
    held = signed.present(signed.user, token)
    data = signed.sign(DESCRIBE, token=token, key=signed.user)

    admit(held, "table", ["sales"], None)
    with pytest.raises(Denied):
        admit(held, "table", ["sales"], data)
    admit(held, "describe", [], data)
    with pytest.raises(Denied):
        admit(held, "describe", [], data)


def test_the_end_of_the_grant_ends_it_for_signed_calls_too(signed: Signed) -> None:
    signed.clock.wall_s += LASTS_S

    with pytest.raises(Expired):
        admit(signed.held, "describe", [], signed.sign(DESCRIBE, issued_s=NOW + LASTS_S))


def test_more_calls_than_can_be_remembered_are_put_off(signed: Signed) -> None:
    nonces = signed.desk._invocations._nonces
    for number in range(NONCES_OF_HOLDER_MAX):
        nonces.use(signed.console.public_bytes, b"n%15d" % number, expires_s=NOW + 60, now_s=NOW)

    with pytest.raises(Overloaded):
        admit(signed.held, "describe", [], signed.sign(DESCRIBE))
    signed.clock.wall_s += 60
    admit(signed.held, "describe", [], signed.sign(DESCRIBE, issued_s=NOW + 60))


def test_the_owner_reads_why_and_nobody_else(signed: Signed) -> None:
    with pytest.raises(Denied) as refused:
        admit(signed.held, "describe", [], signed.sign(DESCRIBE, key=machine()))

    assert str(refused.value) == Denied.default_text
    assert refused.value.__suppress_context__
    assert "has not signed it" in signed.logged[-1]


def test_an_invocation_on_another_object_is_not_ignored(signed: Signed) -> None:
    plain = signed.grant().table("sales")
    bootstrap = signed.desk.bootstrap(peer(signed.user))

    for held in (plain, plain.row(["0016"]), bootstrap):
        held.check(call_on(held, "describe"))
        with pytest.raises(Invalid, match="for a grant itself"):
            admit(held, "describe", [], signed.sign(DESCRIBE))


def test_an_object_among_the_arguments_is_denied(signed: Signed) -> None:
    """A promise may put one there, after the console has signed."""
    table = signed.grant().table("sales")

    for arguments in ([table], [[["table", [table]]]]):
        with pytest.raises(Denied):
            admit(signed.held, "run", [[["table", arguments]]], signed.sign(QUERY))
