"""Two members' tables reconciled: what agrees cancels, and only what differs is asked for.

The aggregator never has the secret under which the members make their tags: what it sees of a row
that agrees is nothing, and of one that differs a pseudonym, until the member gives the row.
"""

from __future__ import annotations

import secrets
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import trio

from psp.errors import (
    EstateError,
    Invalid,
    LimitExceeded,
    PSPError,
    QuestionError,
    RemoteProtocolError,
)
from psp.plan import CELL_BYTES, Difference, difference_untrusted
from psp.values import EXACT, Value, to_text

from ._answer import plain
from ._limits import (
    CELLS_FIRST,
    CELLS_LAST,
    DEADLINE_S,
    LISTED_AT_ONCE,
    LISTED_MAX,
    LISTING_CALLS_MAX,
)
from ._line import Callee, Line

NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One table of a reconciliation.

    Attributes:
        key: The columns by which a row of one side is the row of the other.
        amount: The columns that must then agree, in the other side's order.
    """

    member: str
    table: str
    key: tuple[str, ...]
    amount: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        return [*self.key, *self.amount]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Which two tables are compared.

    Raises:
        QuestionError: They name different numbers of columns, or none.
    """

    title: str
    left: Side
    right: Side
    deadline_s: float = DEADLINE_S

    def __post_init__(self) -> None:
        left, right = self.left, self.right
        if not left.key or not left.amount:
            raise QuestionError("a side needs key and amount; name at least one column of each.")
        if len(left.key) != len(right.key) or len(left.amount) != len(right.amount):
            raise QuestionError(
                f"the sides name {len(left.key)} and {len(right.key)} key columns,"
                f" {len(left.amount)} and {len(right.amount)} amounts; a row is compared column by"
                " column."
            )


@dataclass(frozen=True, slots=True)
class Row:
    """One row behind a difference."""

    key: tuple[Value, ...]
    amount: tuple[Value, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What came of it.

    Attributes:
        matched: Rows that both sides have: known by number alone.
        differ: Rows of one key whose amounts differ: the left one, the right one.
        only_left: Rows whose key the right side does not have.
        sizes: Bytes that each side has sent, tables and rows.
        is_listed: The rows were given; else only their number is known.
    """

    asked: Reconciliation
    asked_at: datetime
    as_of: Mapping[str, int]
    rows: tuple[int, int]
    matched: int
    differences: tuple[int, int]
    differ: tuple[tuple[Row, Row], ...]
    only_left: tuple[Row, ...]
    only_right: tuple[Row, ...]
    sizes: tuple[int, int]
    is_listed: bool
    why_not_listed: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The plain form, ready for JSON and for a console."""
        left, right = self.asked.left, self.asked.right
        return {
            "title": self.asked.title,
            "kind": "reconciliation",
            "asked_at": to_text(self.asked_at),
            "as_of": dict(self.as_of),
            "left": {"member": left.member, "table": left.table, "columns": left.columns},
            "right": {"member": right.member, "table": right.table, "columns": right.columns},
            "rows": list(self.rows),
            "matched": self.matched,
            "differences": list(self.differences),
            "differ": [
                {
                    "key": _texts(one.key),
                    "left": _texts(one.amount),
                    "right": _texts(other.amount),
                    "by": [_by(a, b) for a, b in zip(one.amount, other.amount, strict=True)],
                }
                for one, other in self.differ
            ],
            "only_left": [_row_to_dict(row) for row in self.only_left],
            "only_right": [_row_to_dict(row) for row in self.only_right],
            "bytes": list(self.sizes),
            "is_listed": self.is_listed,
            "why_not_listed": self.why_not_listed,
        }


@dataclass(frozen=True, slots=True)
class _Sketch:
    cells: bytes
    rows: int
    as_of: int


async def reconcile(
    asked: Reconciliation, lines: Mapping[str, Line], *, nonce: bytes | None = None
) -> Reconciled:
    """Compare the two tables.

    Args:
        nonce: For tests; random else, so that the tags of two comparisons have nothing in common.

    Raises:
        EstateError: A member is not there.
        QuestionError: Too much differs to be told row by row.
        PSPError: What a member, or the way to it, did: without both sides there is nothing to say.
    """
    for side in (asked.left, asked.right):
        if side.member not in lines:
            raise EstateError(f"the estate has no member {side.member!r}; it has {sorted(lines)}.")
    number = nonce or secrets.token_bytes(NONCE_BYTES)
    sides = (asked.left, asked.right)
    left, right, difference = await _compared(asked, lines, number)
    wanted = (difference.left, difference.right)
    sizes = (len(left.cells), len(right.cells))
    rows: list[list[Row]] = [[], []]
    why = ""
    if max(map(len, wanted)) > LISTED_MAX:
        why = f"more than {LISTED_MAX} rows differ on one side"
    elif any(wanted):
        try:
            found = await _both(
                lambda at: _rows_behind(
                    lines[sides[at].member], sides[at], number, wanted[at], asked.deadline_s
                ),
                asked.deadline_s,
            )
            rows = [each for each, _ in found]
            sizes = (sizes[0] + found[0][1], sizes[1] + found[1][1])
        except (Invalid, RemoteProtocolError):
            raise
        except PSPError as exc:
            why = str(exc)
    return Reconciled(
        asked=asked,
        asked_at=datetime.now(UTC),
        as_of={asked.left.member: left.as_of, asked.right.member: right.as_of},
        rows=(left.rows, right.rows),
        matched=left.rows - len(difference.left),
        differences=(len(difference.left), len(difference.right)),
        **_paired(*rows),
        sizes=sizes,
        is_listed=not why,
        why_not_listed=why,
    )


async def _compared(
    asked: Reconciliation, lines: Mapping[str, Line], nonce: bytes
) -> tuple[_Sketch, _Sketch, Difference]:
    """Ask both for tables, of twice the size each time that they do not suffice."""
    sides = (asked.left, asked.right)
    cells = CELLS_FIRST
    while cells <= CELLS_LAST:
        size = cells
        left, right = await _both(
            lambda at, size=size: _sketch(  # type: ignore[misc]
                lines[sides[at].member], sides[at], nonce, size, asked.deadline_s
            ),
            asked.deadline_s,
        )
        difference = difference_untrusted(left.cells, right.cells)
        if difference is not None and left.rows - len(difference.left) == right.rows - len(
            difference.right
        ):
            return left, right, difference
        cells *= 2
    raise QuestionError(
        f"{asked.left.member!r} and {asked.right.member!r} differ in more rows than can be told"
        f" apart ({CELLS_LAST // 2} and more). Compare less, or ask whether the key columns are"
        " the right ones."
    )


async def _sketch(line: Line, side: Side, nonce: bytes, cells: int, deadline_s: float) -> _Sketch:
    async def ask(grant: Callee) -> Value:
        table = grant.call("table", side.table, timeout_s=deadline_s)
        found: Value = await table.call("sketch", nonce, side.columns, cells, timeout_s=deadline_s)
        return found

    match await line.ask(ask):
        case {"cells": bytes(data), "rows": int(rows), "as_of": int(as_of)} if (
            len(data) == cells * CELL_BYTES and rows >= 0
        ):
            return _Sketch(data, rows, as_of)
    raise _not_one(line, "a table for a comparison")


async def _rows_behind(
    line: Line, side: Side, nonce: bytes, tags: Sequence[bytes], deadline_s: float
) -> tuple[list[Row], int]:
    """The rows of some tags, and how many bytes they came in, nearly.

    Raises:
        LimitExceeded: The grant gives so few at once that they would take too many calls.
    """
    rows: list[Row] = []
    times, waiting, at_once = Counter(tags), sorted(set(tags)), LISTED_AT_ONCE
    for _ in range(LISTING_CALLS_MAX):
        if not waiting:
            break
        some = waiting[:at_once]
        try:
            found = await _entries_behind(line, side, nonce, some, deadline_s)
        except LimitExceeded:
            if len(some) == 1:
                raise
            at_once = len(some) // 2  # How few its grant gives at once, the archive alone knows.
            continue
        rows += _read_entries(line, side, found, times)
        waiting = waiting[len(some) :]
    if waiting:
        raise LimitExceeded(
            f"{len(waiting)} of {len(times)} differences of {line.member.name!r} were still not"
            f" given after {LISTING_CALLS_MAX} calls. Ask its operator for a grant of more rows"
        )
    return rows, sum(len(repr(row)) for row in rows) + len(tags) * NONCE_BYTES


async def _entries_behind(
    line: Line, side: Side, nonce: bytes, tags: Sequence[bytes], deadline_s: float
) -> Sequence[Value]:
    async def ask(grant: Callee) -> Value:
        table = grant.call("table", side.table, timeout_s=deadline_s)
        found: Value = await table.call(
            "behind", nonce, side.columns, [*tags], timeout_s=deadline_s
        )
        return found

    answer = await line.ask(ask)
    found = answer.get("rows") if isinstance(answer, Mapping) else None
    if not isinstance(found, list | tuple):
        raise _not_one(line, "the rows behind differences")
    return found


def _read_entries(
    line: Line, side: Side, found: Sequence[Value], times: Counter[bytes]
) -> Iterator[Row]:
    """Read what a member gave, and count in `times` what of it is still to come."""
    for entry in found:
        match entry:
            # A row that stands twice here and once there has one tag, and comes twice.
            case [bytes(tag), [*values]] if tag in times and len(values) == len(side.columns):
                times[tag] -= 1
                if times[tag] >= 0:
                    key, rest = values[: len(side.key)], values[len(side.key) :]
                    yield Row(tuple(key), tuple(rest))
            case _:
                raise _not_one(line, "a row behind a difference")


def _paired(left: Sequence[Row], right: Sequence[Row]) -> dict[str, Any]:
    """Lay rows of one key beside each other; what has no partner is missing on the other side."""
    partners: defaultdict[tuple[str, ...], list[Row]] = defaultdict(list)
    for row in right:
        partners[_as_key(row.key)].append(row)
    differ, only_left = [], []
    for row in sorted(left, key=lambda each: _as_key(each.key)):
        if found := partners[_as_key(row.key)]:
            differ.append((row, found.pop(0)))
        else:
            only_left.append(row)
    only_right = [row for found in partners.values() for row in found]
    return {
        "differ": tuple(differ),
        "only_left": tuple(only_left),
        "only_right": tuple(sorted(only_right, key=lambda each: _as_key(each.key))),
    }


async def _both(ask: Callable[[int], Awaitable[Any]], deadline_s: float) -> tuple[Any, Any]:
    """Ask both sides at once. The first failure is the failure: one side alone says nothing."""
    found: dict[int, Any] = {}
    failure: list[PSPError] = []

    async def one(at: int) -> None:
        try:
            found[at] = await ask(at)
        except PSPError as exc:
            failure.append(exc)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.cancel_scope.deadline = trio.current_time() + deadline_s
        nursery.start_soon(one, 0)
        nursery.start_soon(one, 1)
    if failure:
        raise failure[0]
    if len(found) < 2:
        raise EstateError(
            f"one of the two sides gave no answer within {deadline_s:g} s. Write a longer `within`"
            " into the view, or ask how it is: psp status"
        )
    return found[0], found[1]


def _as_key(values: Sequence[Value]) -> tuple[str, ...]:
    # 7 and 7.00 are one number, in whichever type a side keeps it.
    return tuple(
        format(EXACT.add(EXACT.normalize(Decimal(value)), 0), "f")
        if isinstance(value, int | Decimal) and not isinstance(value, bool)
        else to_text(value)
        for value in values
    )


def _by(left: Value, right: Value) -> Any:
    if isinstance(left, bool) or isinstance(right, bool):
        return None
    if isinstance(left, int | Decimal) and isinstance(right, int | Decimal):
        return plain(EXACT.subtract(Decimal(right), Decimal(left)))
    return None


def _row_to_dict(row: Row) -> dict[str, Any]:
    return {"key": _texts(row.key), "amount": _texts(row.amount)}


def _texts(values: Sequence[Value]) -> list[Any]:
    return [plain(value) for value in values]


def _not_one(line: Line, what: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"member {line.member.name!r} did not send {what}. Nothing was compared; ask its operator"
        " which release it runs."
    )
