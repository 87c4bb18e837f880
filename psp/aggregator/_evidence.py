"""What proves a view: each member's answer as it came, its receipt, and the key that signed it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from psp.capability import Command, Operation, hash_commands
from psp.errors import QuestionError
from psp.ledger import decode_proof_file_untrusted
from psp.plan import Arithmetic, Constant, Expression, MeasureValue, Plan
from psp.values import Value, pack_ordered, to_text

from ._answer import Answer
from ._outcome import Outcome
from ._reply import Reply
from ._view_file import View

_PROVABLE: Final = frozenset(
    {Operation.COUNT, Operation.SUM, Operation.MEAN, Operation.MIN, Operation.MAX}
)


def evidence_of(view: View, answer: Answer) -> dict[str, Any]:
    """Give the plain form of what a reader needs to check a view alone.

    Raises:
        QuestionError: It has no receipts, or its figures are not those that members gave: they
            were weighed, converted, folded into fiscal periods, or added up by an aggregator.
    """
    measures = view.question.plan.measures
    if view.terms.to_dict() or any(member.is_aggregator for member in answer.members.values()):
        raise QuestionError(
            "a page proves figures as archives gave them, and this view has terms or asks another"
            " aggregator. Leave the terms out, or save it in another format."
        )
    if odd := [measure.name for measure in measures if measure.operation not in _PROVABLE]:
        raise QuestionError(f"a page cannot prove {odd[0]} yet; save it in another format.")
    members = [_member(leaf, answer) for leaf in answer.leaves if leaf.reply is not None]
    return {
        "outputs": [
            {"name": it.name, "kind": it.kind, "expression": _expression(it.expression)}
            for it in view.question.outputs
            if it.kind != "group"
        ],
        "plan": _text(pack_ordered(view.question.plan.to_wire())),
        "members": members,
    }


def _command(plan: Plan, read: Mapping[str, Any], as_of: int) -> bytes:
    """What was done on the grant, in the form whose hash is on record (docs/auditing.md)."""
    commands: list[Command] = []
    for asked in (plan, replace(plan, as_of=as_of)):  # As of now, or of an earlier state.
        commands = [("table", [asked.table]), ("query", [asked.to_wire()])]
        if hash_commands(commands).hex() == read.get("command"):
            break
    return pack_ordered([[word, [*given]] for word, given in commands])


def _member(leaf: Outcome[Reply], answer: Answer) -> dict[str, Any]:
    assert leaf.reply is not None
    if (receipt := leaf.reply.receipt) is None:
        raise QuestionError(
            f"{leaf.member!r} gave no receipt, so a page cannot prove its figures. Ask with"
            " receipts=True."
        )
    said: Mapping[str, Value] = {
        name: value for name, value in receipt.answer.items() if name != "read"
    }
    proof = decode_proof_file_untrusted(receipt.proof)
    try:
        read = json.loads(proof.entry or b"{}")
    except ValueError:
        read = {}
    plan = answer.question.plan
    known = answer.members.get(leaf.member)
    return {
        "member": leaf.member,
        "key": known.reads_key if known else "",
        "command": _text(_command(plan, read, leaf.reply.as_of)),
        "answer": _text(pack_ordered(said)),
        "proof": {
            "index": proof.index,
            "hashes": [_text(each) for each in proof.hashes],
            "note": proof.note.decode(),
            "entry": _text(proof.entry or b""),
        },
    }


def _expression(expression: Expression) -> list[Any]:
    match expression:
        case MeasureValue(index):
            return ["measure", index]
        case Constant(value):
            return ["constant", to_text(value)]
        case Arithmetic(operator, left, right):
            return [operator, _expression(left), _expression(right)]
    raise QuestionError("a page cannot prove what a figure is calculated from here.")


def _text(data: bytes) -> str:
    return b64encode(data).decode()
