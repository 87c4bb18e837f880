"""One member's answer: from whatever a stranger sent to values, in one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from psp.errors import InclusionProofInvalid
from psp.ledger import ProofFile, decode_proof_file_untrusted
from psp.plan import (
    ANSWER_CELLS_MAX,
    RULE_WORDS,
    Plan,
    key_of_untrusted,
    read_cells_untrusted,
    read_parts_untrusted,
    refuse_answer,
)
from psp.plan import Key as Key
from psp.plan import Part as Part
from psp.plan import Withheld as Withheld
from psp.values import Value

from ._limits import LEAVES_MAX, NAME_CHARACTERS_MAX
from ._outcome import MemberState, Outcome, state_over

_STATES: Final = frozenset(state.value for state in MemberState)


@dataclass(frozen=True, slots=True)
class ReadReceipt:
    """A member's proof that this read is on its record, not verified: nobody here has its key.

    Attributes:
        proof: The proof file, C2SP tlog-proof, as `psp verify` takes it.
        answer: What was answered, as it came; the entry in the proof tells its hash.
    """

    proof: bytes
    answer: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What one member answered to one plan.

    Attributes:
        as_of: The size of the member's ledger at which it answered; 0 of an aggregator, which has
            none.
        receipt: If one was asked for.
        below: If the member is an aggregator: what became of its own members. Their figures are in
            its parts, combined; their withheld cells and receipts are theirs.
    """

    as_of: int
    receipt: ReadReceipt | None = None
    parts: tuple[Part, ...]
    withheld: tuple[Withheld, ...]
    below: tuple[Outcome[Reply], ...] = ()

    @property
    def member_state(self) -> MemberState:
        """What it makes of the member that gave it."""
        if self.below:
            return state_over(leaf.state for leaf in self.below)
        return MemberState.ANSWERED if self.parts or self.withheld else MemberState.EMPTY


def read_reply_untrusted(member: str, plan: Plan, answer: object) -> Reply:
    """Read the wire answer of docs/answers.md.

    Raises:
        RemoteProtocolError: It is not one. Nothing else is raised.
    """
    found = read_cells_untrusted(member, plan, answer)
    return Reply(as_of=found.as_of, parts=found.parts, withheld=found.withheld)


def read_branch_untrusted(member: str, plan: Plan, answer: object) -> Reply:
    """Read the combined answer of an aggregator (docs/fleet.md, "Aggregators above aggregators").

    Raises:
        RemoteProtocolError: It is not one. Nothing else is raised.
    """
    match answer:
        case {
            "cells": list() | tuple() as cells,
            "other": other,
            "members": list() | tuple() as leaves,
        } if len(cells) <= ANSWER_CELLS_MAX and len(leaves) <= LEAVES_MAX:
            below = tuple(_leaf(member, plan, leaf) for leaf in leaves)
        case _:
            refuse_answer(member, "it is not cells, other and members")
    if len({leaf.member for leaf in below}) != len(below):
        refuse_answer(member, "one of its members came twice")
    parts = read_parts_untrusted(member, plan, cells, other)
    return Reply(as_of=0, parts=parts, withheld=(), below=below)


def _leaf(member: str, plan: Plan, leaf: object) -> Outcome[Reply]:
    match leaf:
        case [str(name), str(state), str(cause), datetime() | None as since, reply] if (
            state in _STATES and 0 < len(name) <= NAME_CHARACTERS_MAX
        ):
            path = f"{member}/{name}"
            return Outcome(
                member=path,
                state=MemberState(state),
                words=cause,
                since=since,
                reply=None if reply is None else _leaf_reply(path, plan, reply),
            )
    refuse_answer(member, "one of its members is not name, state, cause, since and reply")


def _leaf_reply(member: str, plan: Plan, reply: object) -> Reply:
    match reply:
        case [int(as_of), list() | tuple() as withheld, receipt] if as_of >= 0:
            hidden = tuple(_leaf_withheld(member, plan, entry) for entry in withheld)
            proof = None if receipt is None else _leaf_receipt(member, receipt)
            return Reply(as_of=as_of, parts=(), withheld=hidden, receipt=proof)
    refuse_answer(member, "its reply is not as_of, withheld and receipt")


def _leaf_withheld(member: str, plan: Plan, entry: object) -> Withheld:
    match entry:
        case [key, int(cells), str(rule), int(floor)] if rule in RULE_WORDS and cells > 0:
            named = None if key is None else key_of_untrusted(member, plan, key)
            return Withheld(member, named, cells, rule, floor)
    refuse_answer(member, "a hidden cell of it is not key, count, rule and floor")


def _leaf_receipt(member: str, receipt: object) -> ReadReceipt:
    match receipt:
        case [bytes(proof), dict(answer)]:
            _check_proof(member, proof)
            return ReadReceipt(proof, answer)
    refuse_answer(member, "its receipt is not a proof and the answer that it proves")


def leaves_of(outcomes: Iterable[Outcome[Reply]]) -> Iterator[Outcome[Reply]]:
    """Give each archive's outcome once: an aggregator that answered is replaced by its members."""
    for outcome in outcomes:
        if outcome.reply is not None and outcome.reply.below:
            yield from outcome.reply.below
        else:
            yield outcome


def read_receipt_untrusted(member: str, answer: Mapping[str, Value], wire: object) -> ReadReceipt:
    """Read the wire form of a receipt (docs/auditing.md) and write it as a proof file.

    Raises:
        RemoteProtocolError: It is not one. Nothing else is raised.
    """
    match wire:
        case {
            "index": int(index),
            "hashes": list() | tuple() as hashes,
            "checkpoint": bytes(note),
            "entry": bytes(entry),
        } if all(type(one) is bytes for one in hashes):
            proof = ProofFile(index=index, hashes=hashes, note=note, entry=entry).encode()
        case _:
            refuse_answer(member, "its receipt is not index, hashes, checkpoint and entry")
    _check_proof(member, proof)
    return ReadReceipt(proof, answer)


def _check_proof(member: str, proof: bytes) -> None:
    try:
        decode_proof_file_untrusted(proof)
    except InclusionProofInvalid as exc:
        refuse_answer(member, f"its receipt is no proof ({exc})")
