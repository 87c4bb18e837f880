"""What an archive remembers about grants: revocations, epochs, its clock, what others saw, budgets.

None of it can be derived again. Where it is gone or damaged, no grant is accepted until the owner
has raised the epoch, which makes whatever was forgotten irrelevant.

Each change is durable before it is acknowledged, and raises a number, by which open connections
notice at their next command or chunk that they have to look again.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import trio

from psp.capability import (
    NEVER_SEEN,
    OWN_LINKS,
    Anchor,
    ClockReset,
    Grant,
    Reassertion,
    Revocation,
    Revokes,
    Seen,
    Standing,
)
from psp.errors import ArchiveError, Denied
from psp.ledger import Ledger

from ._budgets import Budgets, Limit, Spend, claim_of
from ._clocks import ReadClocks
from ._limits import (
    CLOCK_BACK_S_MAX,
    FORGOTTEN_AFTER_S,
    LEDGER_ROOTS_KEPT,
    REVOCATIONS_MAX,
    STATE_SAVED_EVERY_S,
)
from ._said import contradiction
from ._state_file import StateFile, Stored


class GrantMemory:
    """The open memory of one archive. Written by one task or thread at a time: see `turn`.

    Attributes:
        generation: Changes with every change that can end a grant.
        epoch: Grants of an older one are over.
        alarm: Why no grant is accepted until the owner has spoken; empty while all is well.
        revoked: When each revocation may be forgotten, by kind and name.
        turn: Taken by whoever writes while others serve.
    """

    def __init__(
        self,
        file: StateFile,
        ledger: Ledger,
        *,
        anchor: Anchor,
        found_again: Callable[[Mapping[str, Stored]], StateFile] | None = None,
    ) -> None:
        """Read what is remembered.

        Args:
            anchor: Says which keys may sign first links; the epoch is not below its own.
            found_again: Makes a new file, where `file` only stands for one that is lost.
        """
        self.generation = 0
        self._file = file
        self._ledger = ledger
        self._found_again = found_again
        self._roots: OrderedDict[Seen, str | None] = OrderedDict()
        facts = file.facts()
        self.epoch = max(anchor.epoch, _int(facts, "epoch"))
        self.anchor_keys = anchor.anchor_keys
        self.clock_number = _int(facts, "clock_number")
        self.reassertion_number = _int(facts, "reassertion_number")
        self.alarm = str(facts.get("alarm", ""))
        self.forgotten_s = _int(facts, "forgotten_s")
        self._clock_s: float = _int(facts, "clock_s")
        self.seen = _seen(facts, "seen")
        self.revoked = revoked_in(file)
        self.budgets = Budgets(file)
        self.turn = trio.Lock()
        self.standing = self._make_standing()
        for who, seen in (("the owner", self.seen), ("this archive itself", self.known)):
            if not self.alarm and (fault := self.contradicts(seen)) is not None:
                self.raise_alarm(f"{who} {fault}")

    # What is asked at every command: comparisons, and nothing else.

    def check_open(self, wall_s: float) -> None:
        """Refuse while this archive accepts no grant.

        Raises:
            Denied: It stopped, or its clock stands too far behind.
        """
        if wall_s >= self._clock_s:
            self._clock_s = wall_s
        elif wall_s < self._clock_s - CLOCK_BACK_S_MAX:
            raise Denied("this archive's clock is behind, so it accepts no grants; tell its owner")
        if self.alarm:
            raise Denied("this archive accepts no grants until its owner has looked at it")

    def is_behind(self, wall_s: float) -> bool:
        """Say whether the clock stands too far behind the latest time it ever showed."""
        return wall_s < self._clock_s - CLOCK_BACK_S_MAX

    # What its owner changes. Each is durable on return, together with the `entry` that tells of it
    # and may have to wait until the ledger can take it.

    def revoke(self, said: Revocation, entry: bytes) -> None:
        """Take a grant back with all that was narrowed from it, or all that a key holds or signed.

        Raises:
            ArchiveError: Too much is revoked, or the disk refused.
        """
        if self._found_again is not None:
            raise ArchiveError(f"nothing can be revoked one by one: {self.alarm}")
        known = self.revoked[said.what]
        if sum(map(len, self.revoked.values())) >= REVOCATIONS_MAX and said.target not in known:
            raise ArchiveError(
                f"{REVOCATIONS_MAX:,} grants and keys are revoked already, and no more can be"
                " remembered. Begin a new epoch: that takes back everything."
            )
        until_s = max(said.until_s, known.get(said.target, 0))
        with self._file.writing():
            self._file.execute(
                "INSERT OR REPLACE INTO revoked VALUES (?, ?, ?)",
                (int(said.what), said.target, until_s),
            )
            self._owe(entry)
        known[said.target] = until_s
        self._changed()

    def begin_epoch(self, epoch: int, entry: bytes, reasserted: Reassertion | None = None) -> None:
        """End every grant of an earlier epoch.

        An alarm ends only with what the threshold has signed; or where the memory was lost, with
        the epoch, which ends everything that was forgotten.

        Raises:
            ArchiveError: The disk refused.
        """
        number = reasserted.number if reasserted else self.reassertion_number
        seen = reasserted.audit if reasserted else self.seen
        was_lost = self._found_again is not None
        alarm = "" if reasserted or was_lost else self.alarm
        if self._found_again is not None:
            # What was lost was about grants of earlier epochs, which are over now. What a key signs
            # is of every epoch: the ledger has told which are revoked.
            self._file = self._found_again({})
            self._found_again, self.budgets = None, Budgets(self._file)
            self.revoked = revoked_in(self._file)
        with self._file.writing():
            self._set(
                epoch=epoch,
                alarm=alarm,
                clock_number=self.clock_number,
                reassertion_number=number,
                **_seen_facts(seen, "seen"),
            )
            if reasserted or was_lost:
                self._remember_ledger()
            self._owe(entry)
        self.epoch, self.alarm, self.seen, self.reassertion_number = epoch, alarm, seen, number
        self._changed()

    def set_clock(self, reset: ClockReset, entry: bytes) -> None:
        """Believe an earlier time again, because the owner says that the later one was wrong.

        What was forgotten by the wrong time stays refused (`Standing.forgotten_s`).

        Raises:
            ArchiveError: The disk refused.
        """
        with self._file.writing():
            self._set(clock_s=reset.time_s, clock_number=reset.number)
            self._owe(entry)
        self._clock_s, self.clock_number = reset.time_s, reset.number
        self._changed()

    @property
    def known(self) -> Seen:
        """The ledger up to where it tells of nothing that this memory has not heard."""
        return known_in(self._file.facts())

    def take_anchor(self, anchor: Anchor, statement: bytes, entry: bytes) -> None:
        """Let other anchor keys sign first links. What those that are gone have signed is over.

        The statement is kept here until it is in its own file, which a crash may come before.

        Raises:
            ArchiveError: The disk refused, or what revocations there were is lost.
        """
        if self._found_again is not None:
            raise ArchiveError(f"the anchor keys cannot be changed: {self.alarm}")
        with self._file.writing():
            self._set(epoch=max(anchor.epoch, self.epoch), anchor_statement=statement)
            self._owe(entry)
        self.epoch, self.anchor_keys = max(anchor.epoch, self.epoch), anchor.anchor_keys
        self._changed()

    def owed(self) -> list[bytes]:
        """Give the entries that the ledger has yet to take, in their order."""
        return owed_in(self._file.facts())

    def settle_entry(self, entry: bytes) -> None:
        """Owe an entry no longer: the ledger has it.

        Raises:
            ArchiveError: The disk refused.
        """
        with self._file.writing():
            self._set(owed=json.dumps([it.decode() for it in self.owed() if it != entry]))
            self._remember_ledger()

    def raise_alarm(self, why: str) -> None:
        """Accept no grant until the owner has spoken: this archive is not its newest copy.

        Raises:
            ArchiveError: The disk refused. It is stopped all the same, for as long as it runs.
        """
        self.alarm = why
        self._changed()
        with self._file.writing():
            self._set(alarm=why)

    # What serving changes.

    def contradicts(self, seen: Seen) -> str | None:
        """Say how this archive's ledger differs from what somebody saw; None if it extends that."""
        size = self._ledger.checkpoint.tree_size
        if seen.tree_size == 0:
            return None
        if seen.tree_size > size:
            return f"saw {seen.tree_size} entries in the ledger, and there are {size}"
        if seen not in self._roots:
            self._roots[seen] = contradiction(self._ledger, seen)
            if len(self._roots) > LEDGER_ROOTS_KEPT:
                self._roots.popitem(last=False)
        return self._roots[seen]

    def remember_seen(self, grant: Grant) -> None:
        """Keep the largest ledger that the owner's own people saw; on the disk with `save`."""
        self.seen = max(self.seen, *(link.seen for link in grant.links[:OWN_LINKS]))

    def state(self) -> StateFile:
        """Give the file; another one after `begin_epoch` has made it anew."""
        return self._file

    def spender(self, grant: Grant, table: str) -> Spend | None:
        """Give what takes from the budgets of a table under a grant; None if no link sets one."""
        if (claim := claim_of(grant, table)) is None:
            return None

        async def spend(*, uses: int = 0, rows: int = 0, bytes: int = 0) -> None:
            await self.take(claim.amounts(uses=uses, rows=rows, bytes=bytes))

        return spend

    async def take(self, amounts: Sequence[tuple[Limit, int]]) -> None:
        """Take from budgets; see `Budgets.take`. In a thread only where something is written."""
        async with self.turn:
            if self.budgets.is_durable(amounts):
                self.budgets.take(amounts)
            else:
                await trio.to_thread.run_sync(self.budgets.take, amounts)

    async def keep(self, clocks: ReadClocks) -> None:
        """Save now and then, for ever."""
        while True:
            await trio.sleep(STATE_SAVED_EVERY_S)
            async with self.turn:
                await trio.to_thread.run_sync(self.save, clocks().wall_s)

    def save(self, wall_s: float) -> None:
        """Make the clock's mark and what was seen durable, and forget what has ended.

        Raises:
            ArchiveError: The disk refused.
        """
        if self.is_behind(wall_s):
            return  # Nothing is over by a clock that is not believed.
        ended_s = int(wall_s) - FORGOTTEN_AFTER_S
        gone = [
            (kind, name, until_s)
            for kind, names in self.revoked.items()
            for name, until_s in names.items()
            if until_s <= ended_s
        ]
        with self._file.writing():
            self._file.execute("DELETE FROM revoked WHERE until_s <= ?", (ended_s,))
            budgets_s = self.budgets.forget(ended_s)
            forgotten_s = max(self.forgotten_s, budgets_s, *(until_s for *_, until_s in gone), 0)
            self._set(
                clock_s=int(max(self._clock_s, wall_s)),
                forgotten_s=forgotten_s,
                **_seen_facts(self.seen, "seen"),
            )
            self._remember_ledger()
        for kind, name, _ in gone:
            del self.revoked[kind][name]
        if forgotten_s != self.forgotten_s:
            self.forgotten_s = forgotten_s
            self._changed()

    def close(self) -> None:
        """Give back what is left of blocks, and let go of the file."""
        try:
            with self._file.writing():
                self.budgets.settle()
                self._set(clock_s=int(self._clock_s))
                self._remember_ledger()
        finally:
            self._file.close()

    def _owe(self, entry: bytes) -> None:
        """Inside `writing`."""
        self._set(owed=json.dumps([it.decode() for it in (*self.owed(), entry)]))

    def _remember_ledger(self) -> None:
        # What is owed may be in the ledger already, above the size that is remembered.
        if not self.owed():
            now = self._ledger.checkpoint
            self._set(**_seen_facts(Seen(now.tree_size, now.root_hash), "ledger"))

    def _changed(self) -> None:
        self.standing = self._make_standing()
        self.generation += 1

    def _make_standing(self) -> Standing:
        return Standing(
            epoch=self.epoch,
            revoked_ids=self.revoked[Revokes.GRANT],
            revoked_keys=self.revoked[Revokes.KEY],
            forgotten_s=self.forgotten_s,
            anchor_keys=self.anchor_keys,
            contradicts=self.contradicts,
        )

    def _set(self, **facts: Stored) -> None:
        for name, value in facts.items():
            self._file.set_fact(name, value)


def revoked_in(file: StateFile) -> dict[Revokes, dict[bytes, int]]:
    """Read until when each revocation counts, by kind and name."""
    found: dict[Revokes, dict[bytes, int]] = {kind: {} for kind in Revokes}
    for kind, name, until_s in file.execute("SELECT kind, name, until_s FROM revoked"):
        found[Revokes(kind)][name] = until_s  # type: ignore[index,assignment,arg-type]  # STRICT.
    return found


def known_in(facts: Mapping[str, Stored]) -> Seen:
    """Read up to where the ledger was known."""
    return _seen(facts, "ledger")


def owed_in(facts: Mapping[str, Stored]) -> list[bytes]:
    """Read the entries that a ledger has yet to take."""
    return [it.encode() for it in json.loads(str(facts.get("owed", "[]")))]


def _int(facts: Mapping[str, Stored], name: str) -> int:
    value = facts.get(name, 0)
    if not isinstance(value, int):
        raise ValueError(f"its {name} is not a number")
    return value


def _seen(facts: Mapping[str, Stored], of: str) -> Seen:
    root = facts.get(f"{of}_root", NEVER_SEEN.root_hash)
    if not isinstance(root, bytes):
        raise ValueError(f"its {of}_root is not bytes")
    return Seen(_int(facts, f"{of}_size"), root)


def _seen_facts(seen: Seen, of: str) -> dict[str, Stored]:
    return {f"{of}_size": seen.tree_size, f"{of}_root": seen.root_hash}
