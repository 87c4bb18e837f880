"""The idempotency key of a command: which attempt belongs to which, for as long as one may be made.

A key is older than what was done with it and no younger, so it says itself until when an archive
has to remember it. One that came without its time could outlive the memory, and be done twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from psp.errors import CapabilityError

from ._limits import NONCE_BYTES, TIME_S_MAX

COMMAND_KEY_BYTES: Final = 8 + NONCE_BYTES
_TEXT: Final = re.compile(r"([0-9]{1,16})-([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class CommandKey:
    """The key of one command, the same in every attempt and for every archive that it is for.

    Attributes:
        made_s: When it was made, seconds since 1970, by the clock of whoever commands.
        nonce: 16 random bytes.
    """

    made_s: int
    nonce: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.made_s <= TIME_S_MAX or len(self.nonce) != NONCE_BYTES:
            raise CapabilityError(
                f"a command's key is a time up to {TIME_S_MAX} and {NONCE_BYTES} random bytes, and"
                f" these are {self.made_s} and {len(self.nonce)} bytes. Make a fresh one."
            )

    def __str__(self) -> str:
        return f"{self.made_s}-{self.nonce.hex()}"

    def to_bytes(self) -> bytes:
        """Give the 24 bytes that travel: the time as a big-endian integer, and the nonce."""
        return self.made_s.to_bytes(8) + self.nonce

    @staticmethod
    def from_bytes_untrusted(data: bytes) -> CommandKey:
        """Read what a stranger sent.

        Raises:
            CapabilityError: It is no key. Nothing else is raised.
        """
        if len(data) != COMMAND_KEY_BYTES:
            raise CapabilityError(
                f"a command's key has {COMMAND_KEY_BYTES} bytes, and this has {len(data)}. Send 8"
                f" bytes of time and {NONCE_BYTES} random ones."
            )
        return CommandKey(int.from_bytes(data[:8]), data[8:])

    @staticmethod
    def from_text_untrusted(text: str) -> CommandKey:
        """Read what `str` has written.

        Raises:
            CapabilityError: It is no key. Nothing else is raised.
        """
        found = _TEXT.fullmatch(text.strip())
        if found is None:
            raise CapabilityError(
                f"{text[:64]!r} is no key of a command. Copy the one that was printed, as in"
                " 1795289528-0123456789abcdef0123456789abcdef."
            )
        return CommandKey(int(found[1]), bytes.fromhex(found[2]))
