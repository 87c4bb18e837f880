"""What is left of a grant's total budgets: counted on every link, and on whom the first one names.

A use is counted before it runs. It is taken from a block that is durable already, so most uses
write nothing; what a crash leaves of a block is lost to the holder and not to the owner. Narrowing
gives no new budget, since the links above are counted too. Nor does issuing again: first links of
one holder that live at the same time are counted together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from psp.capability import UNLIMITED, Grant, Link, TableRule
from psp.errors import BudgetSpent, Overloaded

from ._limits import BUDGET_BLOCKS_OF_LIMIT, BUDGET_LINES_OF_GRANT_MAX
from ._state_file import StateFile

USES: Final = "uses"
ROWS: Final = "rows"
BYTES: Final = "bytes"
DIMENSIONS: Final = (USES, ROWS, BYTES)

_Key: TypeAlias = tuple[bytes, str]


@dataclass(frozen=True, slots=True)
class Limit:
    """One line of one link: what may be used up in all.

    Attributes:
        root_id: Of the first link of its chain.
        holder: Whom the first link names, where this is the first; else empty.
        most: The budget.
    """

    grant_id: bytes
    line: str
    root_id: bytes
    holder: bytes
    until_s: int
    most: int

    @property
    def key(self) -> _Key:
        return self.grant_id, self.line


@dataclass(slots=True)
class _Account:
    limit: Limit
    used: int = 0
    # Never less than `used`, and on the disk.
    durable: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """What one table costs under one grant: the limits of every link, by what they limit."""

    limits: tuple[tuple[str, Limit], ...]

    def amounts(self, **amounts: int) -> list[tuple[Limit, int]]:
        """Give each limit with what is to be taken from it."""
        return [(limit, amounts[what]) for what, limit in self.limits if amounts.get(what)]


class Spend(Protocol):
    """Takes from every budget of one table under one grant, or raises `BudgetSpent`."""

    async def __call__(self, *, uses: int = 0, rows: int = 0, bytes: int = 0) -> None: ...


def claim_of(grant: Grant, table: str) -> Claim | None:
    """Say which budgets a table draws on; None if no link sets one."""
    limits = tuple(
        (what, limit)
        for index, (link, grant_id) in enumerate(zip(grant.links, grant.ids, strict=True))
        for what, limit in _limits_of(link, grant_id, grant.ids[0], table, is_first=index == 0)
    )
    return Claim(limits) if limits else None


def _limits_of(
    link: Link, grant_id: bytes, root_id: bytes, table: str, *, is_first: bool
) -> Iterator[tuple[str, Limit]]:
    rule: TableRule | None = link.scope.tables.get(table)
    holder = link.holder if is_first else b""
    for what in DIMENSIONS:
        most = UNLIMITED if rule is None else getattr(rule, f"{what}_total")
        if most < UNLIMITED:
            line = f"{what} {table}"
            yield what, Limit(grant_id, line, root_id, holder, link.not_after_s, most)


@dataclass(slots=True)
class Budgets:
    """Every budget that was drawn on and whose grant can still be used."""

    _file: StateFile
    _accounts: dict[_Key, _Account] = field(default_factory=dict)
    # First links by holder and line: what one holder has used is the sum over them.
    _of_holder: defaultdict[_Key, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    _lines: defaultdict[bytes, set[_Key]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        for row in self._file.execute(
            "SELECT grant_id, line, root_id, holder, until_s, amount FROM spent"
        ):
            limit = Limit(*row)  # type: ignore[arg-type]  # The table is STRICT.
            account = self._open(limit)
            account.used = account.durable = limit.most

    def is_durable(self, amounts: Sequence[tuple[Limit, int]]) -> bool:
        """Say whether this can be taken without a write."""
        return all(
            (account := self._accounts.get(limit.key)) is not None
            and account.used + amount <= account.durable
            for limit, amount in amounts
        )

    def take(self, amounts: Sequence[tuple[Limit, int]]) -> None:
        """Take from every limit, or from none.

        Raises:
            BudgetSpent: One of them has not so much left.
            Overloaded: Too many budgets were made of one grant.
            ArchiveError: The disk refused.
        """
        for limit, amount in amounts:
            if self.used(limit) + amount > limit.most:
                what, _, table = limit.line.partition(" ")
                raise BudgetSpent(
                    f"the grant's budget of {what} for the table {table!r} is spent; ask for"
                    " another grant, or wait for its renewal"
                )
            known = self._lines[limit.root_id]
            if limit.key not in known and len(known) >= BUDGET_LINES_OF_GRANT_MAX:
                raise Overloaded(
                    f"{BUDGET_LINES_OF_GRANT_MAX:,} budgets were made of one grant; use those"
                )
        short = [one for one in amounts if not self.is_durable([one])]
        if short:
            self._extend(short)
        for limit, amount in amounts:
            self._accounts[limit.key].used += amount

    def used(self, limit: Limit) -> int:
        """Say what was taken from a limit, or from all live first links of its holder."""
        ids = self._of_holder.get((limit.holder, limit.line), set()) if limit.holder else set()
        keys = {(grant_id, limit.line) for grant_id in ids} | {limit.key}
        return sum(self._accounts[key].used for key in keys if key in self._accounts)

    def forget(self, now_s: int) -> int:
        """Drop what ended by `now_s`; inside `writing`. Return the latest end of those dropped."""
        ended = [key for key, it in self._accounts.items() if it.limit.until_s <= now_s]
        self._file.execute("DELETE FROM spent WHERE until_s <= ?", (now_s,))
        latest_s = max((self._accounts.pop(key).limit.until_s for key in ended), default=0)
        self._of_holder.clear()
        self._lines.clear()
        for account in self._accounts.values():
            self._index(account.limit)
        return latest_s

    def settle(self) -> None:
        """Write what was really used, so that a clean end loses no block; inside `writing`."""
        for (grant_id, line), account in self._accounts.items():
            if account.durable > account.used:
                self._file.execute(
                    "UPDATE spent SET amount = ? WHERE grant_id = ? AND line = ?",
                    (account.used, grant_id, line),
                )
                account.durable = account.used

    def _extend(self, short: Sequence[tuple[Limit, int]]) -> None:
        blocks: list[tuple[Limit, int]] = []
        for limit, amount in short:
            known = self._accounts.get(limit.key)
            block = max(amount, limit.most // BUDGET_BLOCKS_OF_LIMIT)
            blocks.append((limit, min(limit.most, (known.used if known else 0) + block)))
        with self._file.writing():
            for limit, durable in blocks:
                self._file.execute(
                    "INSERT OR REPLACE INTO spent VALUES (?, ?, ?, ?, ?, ?)",
                    (*limit.key, limit.root_id, limit.holder, limit.until_s, durable),
                )
        for limit, durable in blocks:
            self._open(limit).durable = durable

    def _open(self, limit: Limit) -> _Account:
        self._index(limit)
        return self._accounts.setdefault(limit.key, _Account(limit))

    def _index(self, limit: Limit) -> None:
        self._lines[limit.root_id].add(limit.key)
        if limit.holder:
            self._of_holder[limit.holder, limit.line].add(limit.grant_id)
