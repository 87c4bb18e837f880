"""What a connection remembers of the tokens that it has shown, and when that no longer counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from psp.capability import Revokes, decode_chain_untrusted, verify_signature
from psp.errors import Denied
from psp.totebox._limits import TOKENS_REMEMBERED_MAX
from psp.totebox._service import Desk
from psp.totebox._state_file import STATE_FILE
from psp.transport import Peer

from .test_memory import (
    USER,
    House,
    epoch_statement,
    is_live,
    revocation,
    say,
    token,
)
from .test_memory import house as house  # The fixture.


class Counting:
    """A served archive whose signature checks are counted."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.verified = 0
        desk.shown.verifier = self._verify
        self.peer, self.connection = self.connect()

    def connect(self) -> tuple[Peer, object]:
        """Connect once more, as the same machine."""
        peer = Peer(USER.spki_hash, USER.public_bytes, "user")
        return peer, self.desk.bootstrap(peer)

    def present(self, shown: bytes, peer: Peer | None = None) -> int:
        """Give how many signatures were checked for it."""
        before = self.verified
        assert is_live(self.desk.present(peer or self.peer, shown))
        return self.verified - before

    def _verify(self, key: bytes, message: bytes, signature: bytes) -> bool:
        self.verified += 1
        return verify_signature(key, message, signature)


@pytest.fixture
def served(house: House) -> Iterator[Counting]:
    with house.serving() as desk:
        yield Counting(desk)


def test_a_token_that_comes_again_is_not_verified_again(served: Counting) -> None:
    assert [served.present(token()) for _ in range(3)] == [1, 0, 0]


def test_a_token_that_differs_in_its_last_byte_is_another_one(served: Counting) -> None:
    """Attack 14: two tokens that differ in the last byte."""
    shown = token()
    served.present(shown)
    forged = shown[:-1] + bytes([shown[-1] ^ 1])
    for times in (1, 2):  # The refusal is not remembered either.
        with pytest.raises(Denied):
            served.desk.present(served.peer, forged)
        assert served.verified == 1 + times
    assert served.present(shown) == 0


def test_what_one_connection_has_verified_another_one_of_the_same_machine_has_not(
    served: Counting,
) -> None:
    """Attack 14: the same token over two connections."""
    other, connection = served.connect()
    assert served.present(token()) == 1
    assert served.present(token(), other) == 1
    assert served.present(token()) == served.present(token(), other) == 0
    del connection


def test_what_a_connection_knew_ends_with_it(served: Counting) -> None:
    served.present(token())
    served.connection = None
    assert [served.present(token()) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("what", ["grant", "key", "epoch"])
def test_a_revocation_between_two_hits_counts(served: Counting, what: str) -> None:
    """Attack 14: what was verified is revoked between two hits."""
    shown = token()
    assert [served.present(shown), served.present(shown)] == [1, 0]
    (grant_id,) = decode_chain_untrusted(shown).ids()
    kind, said = {
        "grant": ("revoked", revocation(Revokes.GRANT, grant_id)),
        "key": ("revoked", revocation(Revokes.KEY, USER.public_bytes)),
        "epoch": ("epoch", epoch_statement(2)),
    }[what]
    say(served.desk, kind, said)
    with pytest.raises(Denied):
        served.desk.present(served.peer, shown)
    assert served.verified == 1


def test_after_any_revocation_every_token_is_verified_again(served: Counting) -> None:
    served.present(token())
    say(served.desk, "revoked", revocation(Revokes.GRANT, bytes(32)))
    assert [served.present(token()), served.present(token())] == [1, 0]


@pytest.mark.parametrize("clock", ["wall", "boot"])
def test_a_window_that_has_ended_by_either_clock_is_looked_at_again(
    served: Counting, clock: str
) -> None:
    served.present(token())
    clocks = served.desk.clocks()
    day = 24 * 3600.0
    later = clocks._replace(**{f"{clock}_s": clocks.wall_s + day})
    served.desk.clocks = lambda: later
    if clock == "wall":
        with pytest.raises(Denied):
            served.desk.present(served.peer, token())
    else:  # By the wall clock the window is open, so it is verified as if it came first.
        assert served.present(token()) == 1


def test_a_ceiling_that_has_changed_is_met_again(served: Counting) -> None:
    served.present(token())
    served.desk.follow_pairings()
    assert [served.present(token()), served.present(token())] == [1, 0]


def test_an_archive_in_doubt_forgets_what_it_verified_and_refuses(served: Counting) -> None:
    served.present(token())
    served.desk.memory.raise_alarm("it was restored")
    with pytest.raises(Denied):
        served.desk.present(served.peer, token())
    served.desk.memory.alarm = ""  # As after the owner's word.
    assert served.present(token()) == 1


def test_a_memory_that_cannot_be_read_is_no_memory_of_a_connection(
    house: House, served: Counting
) -> None:
    """Attack 14: what was revoked cannot be read any more."""
    served.present(token())
    served.desk.archive.close()
    Path(house.directory / STATE_FILE).write_bytes(b"SQLite format 3\0" + bytes(5000))
    with house.serving() as desk:
        again = Counting(desk)
        with pytest.raises(Denied):
            desk.present(again.peer, token())
        assert again.verified == 0


def test_the_tokens_used_longest_ago_are_forgotten_first(served: Counting) -> None:
    tokens = [token(nonce=bytes([at]) * 16) for at in range(TOKENS_REMEMBERED_MAX + 1)]
    for shown in tokens[:-1]:
        served.present(shown)
    assert served.present(tokens[0]) == 0  # Used again, so the second is the oldest now.
    assert served.present(tokens[-1]) == 1
    assert [served.present(tokens[0]), served.present(tokens[1])] == [0, 1]
