"""Which commands were done already, by their keys. Read from the ledger, kept in the memory's file.

The ledger decides: a command and its key are one entry. What stands in `state/grants.db` only
spares reading all of it again, and says up to where it was read. So a crash between a command and
its answer loses nothing, and neither does the loss of that file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from psp.capability import CommandKey
from psp.errors import Invalid, Overloaded
from psp.ledger import Ledger

from ._entries import ASKED
from ._limits import (
    CLOCK_BACK_S_MAX,
    COMMAND_AHEAD_S,
    COMMAND_KEPT_S,
    COMMANDS_REMEMBERED_MAX,
    COMMANDS_SCANNED_AT_A_TIME,
)
from ._state_file import StateFile

_READ_TO: Final = "commanded_size"
_FORGOTTEN_S: Final = "commanded_forgotten_s"
_MARK: Final = f'"{ASKED}":{{'.encode()


class CommandMemory:
    """The commands that an open archive remembers. Used by one task or thread at a time."""

    def __init__(self, file: StateFile, ledger: Ledger) -> None:
        self._file = file
        self._ledger = ledger

    def find(self, principal: bytes, key: CommandKey) -> int | None:
        """Give the place of the entry that did a command; None if none did. Writes nothing."""
        name = key.to_bytes()
        found = self._file.execute(
            "SELECT place FROM commanded WHERE principal = ? AND key = ?", (principal, name)
        )
        if found:
            return int(found[0][0])
        for place, one, other, _ in self._unread():
            if (one, other) == (principal, name):
                return place
        return None

    def catch_up(self, now_s: int) -> None:
        """Keep what the ledger tells since the last time, and forget what can come no more.

        Raises:
            ArchiveError: The disk refused.
        """
        ended_s = now_s - COMMAND_KEPT_S - CLOCK_BACK_S_MAX
        size = self._ledger.checkpoint.tree_size
        rows = list(self._unread())
        ended = self._file.execute(
            "SELECT made_s FROM commanded WHERE made_s < ? ORDER BY made_s DESC LIMIT 1", (ended_s,)
        )
        if size == self._read_to() and not ended:
            return
        with self._file.writing():
            for place, principal, key, made_s in rows:
                self._file.execute(
                    "INSERT OR IGNORE INTO commanded VALUES (?, ?, ?, ?)",
                    (principal, key, made_s, place),
                )
            if ended:
                self._file.execute("DELETE FROM commanded WHERE made_s < ?", (ended_s,))
                self._file.set_fact(_FORGOTTEN_S, max(int(ended[0][0]), self._forgotten_s()))
            self._file.set_fact(_READ_TO, size)

    @property
    def is_far_behind(self) -> bool:
        """Whether so much of the ledger is unread that nobody should read it twice."""
        return self._ledger.checkpoint.tree_size - self._read_to() > COMMANDS_SCANNED_AT_A_TIME

    def check_fresh(self, principal: bytes, key: CommandKey, now_s: int) -> None:
        """Refuse a key that may have been forgotten, or could not be remembered.

        Raises:
            Invalid: It is too old, or of the future.
            Overloaded: There is no room for one more.
        """
        # By what was dropped and not by the clock alone: its owner may set the clock back.
        if key.made_s <= max(now_s - COMMAND_KEPT_S, self._forgotten_s()):
            raise Invalid(
                f"this command's key was made over {COMMAND_KEPT_S // 3600} hours ago, and what was"
                " done under it may be forgotten. Look at the ledger, then give a fresh command"
            )
        if key.made_s > now_s + COMMAND_AHEAD_S:
            raise Invalid(
                f"this command's key is of the future: {key.made_s - now_s} seconds by this"
                " archive's clock. Set the clock of the machine that commands"
            )
        (count,) = self._file.execute(
            "SELECT count(*) FROM commanded WHERE principal = ?", (principal,)
        )
        if int(count[0]) >= COMMANDS_REMEMBERED_MAX:
            raise Overloaded(
                f"{COMMANDS_REMEMBERED_MAX:,} commands of this holder are remembered, and no more"
                " can be until a day has passed"
            )

    def _read_to(self) -> int:
        # A ledger that is shorter is an older copy: all of it is read again.
        read_to = int(self._file.facts().get(_READ_TO, 0))
        return read_to if read_to <= self._ledger.checkpoint.tree_size else 0

    def _forgotten_s(self) -> int:
        return int(self._file.facts().get(_FORGOTTEN_S, -1))

    def _unread(self) -> Iterator[tuple[int, bytes, bytes, int]]:
        """Give place, principal, key and its time of every command that is in the ledger alone."""
        size = self._ledger.checkpoint.tree_size
        for start in range(self._read_to(), size, COMMANDS_SCANNED_AT_A_TIME):
            entries = self._ledger.entries(start, min(start + COMMANDS_SCANNED_AT_A_TIME, size))
            for place, entry in enumerate(entries, start):
                if _MARK not in entry:  # Not worth reading as JSON.
                    continue
                asked = json.loads(entry).get(ASKED)
                if asked is not None:
                    key = CommandKey.from_text_untrusted(asked["key"])
                    principal = bytes.fromhex(asked["presenter"]) + bytes.fromhex(asked["holder"])
                    yield place, principal, key.to_bytes(), key.made_s
