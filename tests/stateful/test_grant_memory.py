"""What an archive remembers about grants, through restarts, crashes and copies that are put back.

A model of a few sets says which grant is to be accepted; the archive is a real one, with its files.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from psp.capability import (
    Operation,
    Revokes,
    Scope,
    TableRule,
    decode_chain_untrusted,
    issue,
)
from psp.errors import ArchiveError, BudgetSpent, Denied
from psp.totebox import audit_archive
from psp.totebox._budgets import claim_of
from psp.totebox._owner import heed_untrusted
from psp.totebox._service import Desk
from psp.totebox._state_file import STATE_FILE
from psp.transport import Peer
from tests.unit.totebox.conftest import NOW, OWNER, machine
from tests.unit.totebox.test_memory import START_S, House, epoch_statement, revocation, say

HOLDERS = [machine(), machine()]
BUDGET = 20
SCOPE = Scope({"sales": TableRule(operations=frozenset({Operation.COUNT}), uses_total=BUDGET)})
GRANTS = st.tuples(st.integers(0, 1), st.integers(0, 2))
"""A holder, and which of its grants."""


@dataclass(frozen=True)
class Model:
    """What must be true of the archive.

    Attributes:
        words: How often its owner has spoken.
        used: Per holder, what was given of its budget; forgotten with the memory.
        is_lost: It has no memory that it can believe.
    """

    epoch: int = 1
    words: int = 0
    grants: frozenset[bytes] = frozenset()
    keys: frozenset[bytes] = frozenset()
    used: tuple[int, int] = (0, 0)
    crashed: bool = False
    is_lost: bool = False


@dataclass
class Copy:
    """A copy of the memory, and the model of then."""

    path: Path
    then: Model = field(default_factory=Model)


class GrantMemoryMachine(RuleBasedStateMachine):
    """One archive, its owner, and somebody who restores the wrong files."""

    @initialize()
    def found(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="psp-stateful-"))
        self.model, self.copy, self.moves = Model(), Copy(self.place / "none"), 0
        with OWNER.found(self.place / "box") as archive:
            for at, holder in enumerate(HOLDERS):
                archive.pair(f"holder{at}", holder.certificate_pem, "USER")
        self.house, self.open = House(self.place / "box"), ExitStack()
        self.desk: Desk = self.open.enter_context(self.house.serving())
        self.its_memory_is_copied()  # So putting one back is seldom nothing.

    def teardown(self) -> None:
        self.open.close()
        findings = audit_archive(self.house.directory).findings
        assert bool(findings) == self.model.is_lost, findings
        shutil.rmtree(self.place)

    def reopen(self) -> None:
        self.desk = self.open.enter_context(self.house.serving())

    def token(self, holder: int, number: int) -> bytes:
        return issue(
            OWNER.anchor,
            archive_id=OWNER.archive_id,
            epoch=self.model.epoch,
            holder=HOLDERS[holder].public_bytes,
            presenter=HOLDERS[holder].spki_hash,
            scope=SCOPE,
            not_before_s=START_S - 60,
            not_after_s=START_S + 24 * 3600,
            depth=0,
            nonce=number.to_bytes(16, "big"),
        )

    def present(self, holder: int, number: int) -> Any:
        """Give the grant, or None if it is refused."""
        key = HOLDERS[holder]
        peer = Peer(key.spki_hash, key.public_bytes, "holder")
        try:
            return self.desk.present(peer, self.token(holder, number))._grant
        except Denied:
            return None

    def id_of(self, holder: int, number: int) -> bytes:
        return decode_chain_untrusted(self.token(holder, number)).ids()[-1]

    def is_granted(self, holder: int, number: int) -> bool:
        is_revoked = (
            self.id_of(holder, number) in self.model.grants
            or HOLDERS[holder].public_bytes in self.model.keys
        )
        return not self.model.is_lost and not is_revoked

    def spoken(self, **changes: Any) -> None:
        self.model = replace(self.model, words=self.model.words + 1, **changes)

    @rule(which=GRANTS)
    def a_grant_is_accepted_exactly_if_nothing_stands_against_it(
        self, which: tuple[int, int]
    ) -> None:
        assert (self.present(*which) is not None) == self.is_granted(*which)

    @rule(which=GRANTS, uses=st.integers(1, 6))
    def uses_are_given_up_to_the_budget_and_never_beyond(
        self, which: tuple[int, int], uses: int
    ) -> None:
        if (grant := self.present(*which)) is None:
            return
        claim = claim_of(grant, "sales")
        assert claim is not None
        used = list(self.model.used)
        try:
            self.desk.memory.budgets.take(claim.amounts(uses=uses))
            used[which[0]] += uses
        except BudgetSpent:
            # A crash forfeits what was left of a block; without one the budget is whole.
            assert self.model.crashed or used[which[0]] + uses > BUDGET
        assert used[which[0]] <= BUDGET
        self.model = replace(self.model, used=(used[0], used[1]))

    @rule(which=GRANTS)
    def a_grant_is_revoked(self, which: tuple[int, int]) -> None:
        target = self.id_of(*which)
        if self.said("revoked", revocation(Revokes.GRANT, target)):
            self.spoken(grants=self.model.grants | {target})

    @rule(holder=st.integers(0, 1))
    def a_key_is_revoked(self, holder: int) -> None:
        target = HOLDERS[holder].public_bytes
        if self.said("revoked", revocation(Revokes.KEY, target)):
            self.spoken(keys=self.model.keys | {target})

    def said(self, kind: str, statement: bytes) -> bool:
        try:
            say(self.desk, kind, statement)
        except ArchiveError:
            assert self.model.is_lost
            return False
        assert not self.model.is_lost
        return True

    @rule()
    def an_epoch_begins(self) -> None:
        following = self.model.epoch + 1
        say(self.desk, "epoch", epoch_statement(following))
        used = (0, 0) if self.model.is_lost else self.model.used
        self.spoken(epoch=following, is_lost=False, used=used)

    @rule()
    def it_is_stopped_and_started(self) -> None:
        self.open.close()
        self.reopen()

    @rule()
    def it_is_killed(self) -> None:
        self.moves += 1
        there = self.place / f"box{self.moves}"
        shutil.copytree(self.house.directory, there)
        self.open.close()
        shutil.rmtree(self.house.directory)
        self.house = House(there)
        self.model = replace(self.model, crashed=True)
        self.reopen()

    @precondition(lambda self: not self.model.is_lost)
    @rule(which=GRANTS)
    def it_is_killed_before_the_owners_word_is_in_the_ledger(self, which: tuple[int, int]) -> None:
        target = self.id_of(*which)
        statement = revocation(Revokes.GRANT, target)
        heed_untrusted(self.desk.archive, "revoked", statement, now=NOW)
        self.spoken(grants=self.model.grants | {target})
        self.it_is_killed()

    @precondition(lambda self: not self.model.is_lost)
    @rule()
    def its_memory_is_copied(self) -> None:
        self.open.close()
        path = self.place / "copy.db"
        shutil.copy(self.house.directory / STATE_FILE, path)
        self.copy = Copy(path, self.model)
        self.reopen()

    @precondition(lambda self: self.copy.path.exists())
    @rule()
    def the_copy_is_put_back(self) -> None:
        self.open.close()
        shutil.copy(self.copy.path, self.house.directory / STATE_FILE)
        is_old = self.copy.then.words != self.model.words
        # What was spent since the copy is forgotten: nothing else tells of it (the page says so).
        self.model = replace(self.model, is_lost=is_old, used=self.copy.then.used)
        self.reopen()

    @rule()
    def its_memory_is_lost(self) -> None:
        self.open.close()
        (self.house.directory / STATE_FILE).unlink(missing_ok=True)
        self.model = replace(self.model, is_lost=True)
        self.reopen()

    @invariant()
    def the_epoch_is_the_owners(self) -> None:
        if hasattr(self, "desk"):
            assert self.desk.memory.epoch == self.model.epoch
            assert bool(self.desk.memory.alarm) == self.model.is_lost
            assert self.desk.memory.owed() == []


TestGrantMemory = GrantMemoryMachine.TestCase
TestGrantMemory.settings = settings(
    max_examples=12,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
