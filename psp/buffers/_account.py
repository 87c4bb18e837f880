"""How many bytes are held, and for whom: refused beyond a limit, on every level at once."""

from __future__ import annotations

import threading
from typing import Final

from psp.errors import LimitExceeded

from ._limits import CONNECTION_BYTES_MAX, PROCESS_BYTES_MAX, TENANT_BYTES_MAX

_lock: Final = threading.Lock()
"""One for all accounts: a charge changes three of them, in whatever thread."""


class Account:
    """Counts the bytes that one connection, tenant or process holds.

    What is charged here is charged to every account above, and refused if any of them is full.

    Attributes:
        name: Who this is, for the message of a refusal.
        held_bytes: What is charged now.
        limit_bytes: The most that may be.
    """

    def __init__(self, name: str, limit_bytes: int, above: Account | None = None) -> None:
        self.name = name
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._above = above

    def tenant(self, name: str, limit_bytes: int = TENANT_BYTES_MAX) -> Account:
        """Open the account of one tenant under this one."""
        return Account(f"tenant {name}", limit_bytes, self)

    def connection(self, name: str, limit_bytes: int = CONNECTION_BYTES_MAX) -> Account:
        """Open the account of one connection under this one."""
        return Account(f"connection {name}", limit_bytes, self)

    def charge(self, size: int) -> None:
        """Take `size` bytes from what is left, here and above, or nothing anywhere.

        Raises:
            LimitExceeded: One of the accounts has not so much left.
        """
        with _lock:
            for each in self._line():
                if each.held_bytes + size > each.limit_bytes:
                    raise LimitExceeded(
                        f"{size} bytes were asked for a result, and the {each.name} holds"
                        f" {each.held_bytes} of the {each.limit_bytes} that it may."
                        " Release results that are read, or ask for less"
                    )
            for each in self._line():
                each.held_bytes += size

    def release(self, size: int) -> None:
        """Give bytes back that were charged here."""
        with _lock:
            for each in self._line():
                each.held_bytes -= size
                assert each.held_bytes >= 0, f"{each.name} gave back more than it had"

    def _line(self) -> list[Account]:
        line, each = [self], self._above
        while each is not None:
            line.append(each)
            each = each._above
        return line


_process: Final = Account("process", PROCESS_BYTES_MAX)


def process_account() -> Account:
    """Give the account of this process, which every other one should stand under."""
    return _process
