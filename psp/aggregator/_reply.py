"""One member's answer: from whatever a stranger sent to values, in one step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NoReturn, TypeGuard

from psp.capability import Operation
from psp.errors import InclusionProofInvalid, RemoteProtocolError
from psp.ledger import ProofFile, decode_proof_file_untrusted
from psp.plan import Figure, Measure, Plan
from psp.values import Value

from ._limits import CELLS_MAX, LEAVES_MAX, NAME_CHARACTERS_MAX
from ._outcome import MemberState, Outcome, state_over

Key = tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """One cell of one member.

    Attributes:
        key: The group's values; None for the cell that holds what is hidden one by one.
    """

    member: str
    key: Key | None
    figures: Sequence[Figure]


@dataclass(frozen=True, slots=True)
class Withheld:
    """What one member hid, and by which rule.

    Attributes:
        key: Which cell, where the archive's owner lists that domain in full; else None.
        cells: How many cells this stands for.
    """

    member: str
    key: Key | None
    cells: int
    rule: str
    floor: int

    def words_for(self, subjects: str = "subjects") -> str:
        """The reason in words for people, who know what the subjects are called."""
        return _RULE_WORDS[self.rule].format(floor=self.floor, subjects=subjects)


_STATES: Final = frozenset(state.value for state in MemberState)

# The rules of docs/answers.md, in words for people.
_RULE_WORDS: Final = {
    "floor": "hidden: fewer than {floor} {subjects}",
    "complement": "hidden: or the cells beside it could be found by subtraction",
    "dominance": "hidden: nearly all of it is one of the {subjects}",
    "history": "hidden: with earlier answers it would tell of fewer than {floor} {subjects}",
}


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
    if not isinstance(answer, Mapping):
        _refuse(member, f"a {type(answer).__name__} where a table was due")
    cells, other = answer.get("cells"), answer.get("other")
    hidden, hidden_count = answer.get("hidden"), answer.get("hidden_count")
    as_of, floor = answer.get("as_of"), answer.get("floor")
    if not _is_list(cells) or not _is_list(hidden) or len(cells) + len(hidden) > CELLS_MAX:
        _refuse(member, "its cells are not a list of a size that can be")
    if not (_is_count(as_of) and _is_count(floor) and _is_count(hidden_count)):
        _refuse(member, "a count in it is not a count")
    parts = read_parts_untrusted(member, plan, cells, other)
    named = tuple(_withheld(member, plan, entry, floor) for entry in hidden)
    unnamed = hidden_count - len(named)
    if unnamed > 0:
        named += (Withheld(member, None, unnamed, "floor", floor),)
    return Reply(as_of=as_of, parts=parts, withheld=named)


def read_parts_untrusted(
    member: str, plan: Plan, cells: Sequence[object], other: object
) -> tuple[Part, ...]:
    """Read the cells of an answer; the last part is what is hidden cell by cell, if anything is.

    Raises:
        RemoteProtocolError: They are not the cells of an answer to this plan.
    """
    parts = [_part(member, plan, cell) for cell in cells]
    if other is not None:
        parts.append(_part(member, plan, [None, other]))
    if len({part.key for part in parts}) != len(parts):
        _refuse(member, "one group came twice")
    return tuple(parts)


def read_branch_untrusted(member: str, plan: Plan, answer: object) -> Reply:
    """Read the combined answer of an aggregator (docs/fleet.md, "Aggregators above aggregators").

    Raises:
        RemoteProtocolError: It is not one. Nothing else is raised.
    """
    match answer:
        case {"cells": cells, "other": other, "members": leaves} if (
            _is_list(cells)
            and _is_list(leaves)
            and len(cells) <= CELLS_MAX
            and len(leaves) <= LEAVES_MAX
        ):
            below = tuple(_leaf(member, plan, leaf) for leaf in leaves)
        case _:
            _refuse(member, "it is not cells, other and members")
    if len({leaf.member for leaf in below}) != len(below):
        _refuse(member, "one of its members came twice")
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
    _refuse(member, "one of its members is not name, state, cause, since and reply")


def _leaf_reply(member: str, plan: Plan, reply: object) -> Reply:
    match reply:
        case [int(as_of), withheld, receipt] if as_of >= 0 and _is_list(withheld):
            hidden = tuple(_leaf_withheld(member, plan, entry) for entry in withheld)
            proof = None if receipt is None else _leaf_receipt(member, receipt)
            return Reply(as_of=as_of, parts=(), withheld=hidden, receipt=proof)
    _refuse(member, "its reply is not as_of, withheld and receipt")


def _leaf_withheld(member: str, plan: Plan, entry: object) -> Withheld:
    match entry:
        case [key, int(cells), str(rule), int(floor)] if rule in _RULE_WORDS and cells > 0:
            named = None if key is None else _key(member, plan, key)
            return Withheld(member, named, cells, rule, floor)
    _refuse(member, "a hidden cell of it is not key, count, rule and floor")


def _leaf_receipt(member: str, receipt: object) -> ReadReceipt:
    match receipt:
        case [bytes(proof), dict(answer)]:
            _check_proof(member, proof)
            return ReadReceipt(proof, answer)
    _refuse(member, "its receipt is not a proof and the answer that it proves")


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
            _refuse(member, "its receipt is not index, hashes, checkpoint and entry")
    _check_proof(member, proof)
    return ReadReceipt(proof, answer)


def _check_proof(member: str, proof: bytes) -> None:
    try:
        decode_proof_file_untrusted(proof)
    except InclusionProofInvalid as exc:
        _refuse(member, f"its receipt is no proof ({exc})")


def _part(member: str, plan: Plan, cell: object) -> Part:
    if not _is_list(cell) or len(cell) != 2:
        _refuse(member, "a cell is not a key and its figures")
    key, figures = cell
    if not _is_list(figures) or len(figures) != len(plan.measures):
        _refuse(member, f"a cell has not the {len(plan.measures)} figures that were asked for")
    for measure, figure in zip(plan.measures, figures, strict=True):
        if not _FIGURE_IS[measure.operation](figure, measure):
            _refuse(member, f"{measure.name} came as a {type(figure).__name__}")
    return Part(member, None if key is None else _key(member, plan, key), figures)


def _key(member: str, plan: Plan, key: object) -> Key:
    if not _is_list(key) or len(key) != len(plan.group) or not all(map(_is_scalar, key)):
        _refuse(member, f"a group is not named by {len(plan.group)} plain values")
    return tuple(key)


def _withheld(member: str, plan: Plan, entry: object, floor: int) -> Withheld:
    if not _is_list(entry) or not entry:
        _refuse(member, "a hidden cell has no rule")
    *key, rule = entry
    if not isinstance(rule, str) or rule not in _RULE_WORDS:
        _refuse(member, "a hidden cell has no rule that we know")
    return Withheld(member, _key(member, plan, key), 1, rule, floor)


def _is_list(value: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, list | tuple)


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _is_sum(value: object) -> bool:
    return value is None or type(value) in (int, float, Decimal)


def _is_mean(value: object) -> bool:
    return value is None or (
        _is_list(value) and len(value) == 2 and _is_sum(value[0]) and _is_count(value[1])
    )


def _is_variance(value: object) -> bool:
    return (
        _is_list(value) and len(value) == 3 and _is_count(value[0]) and all(map(_is_sum, value[1:]))
    )


def _is_histogram(value: object, bins: int) -> bool:
    # A bin is null where it is hidden; behind the bins stands what is hidden, as one count.
    return (
        _is_list(value)
        and len(value) == bins + 1
        and all(count is None or _is_count(count) for count in value[:-1])
        and _is_count(value[-1])
    )


def _is_scalar(value: object) -> bool:
    # No column holds an instant, which Python takes for a date and cannot compare with one.
    return value is None or type(value) in (bool, int, float, str, Decimal, date)


def _is_extreme(value: object) -> bool:
    return _is_scalar(value) and type(value) is not bool


_FIGURE_IS: Final[Mapping[Operation, Callable[[object, Measure], bool]]] = {
    Operation.COUNT: lambda value, _: _is_count(value),
    Operation.SUM: lambda value, _: _is_sum(value),
    Operation.MEAN: lambda value, _: _is_mean(value),
    Operation.MIN: lambda value, _: _is_extreme(value),
    Operation.MAX: lambda value, _: _is_extreme(value),
    Operation.VARIANCE: lambda value, _: _is_variance(value),
    # Null in the cell of what is hidden: its parts' numbers cannot be added.
    Operation.DISTINCT: lambda value, _: value is None or _is_count(value),
    Operation.HISTOGRAM: lambda value, asked: _is_histogram(value, len(asked.edges) + 1),
    Operation.EXISTS: lambda value, _: type(value) is bool,
}


def _refuse(member: str, what: str) -> NoReturn:
    raise RemoteProtocolError(
        f"member {member!r} sent an answer that is not one: {what}. It was left out; ask its"
        " operator which release it runs"
    )
