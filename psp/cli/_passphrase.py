"""Where a passphrase comes from: a person at a terminal, or a file descriptor. Nowhere else.

Not an option and not the environment: both are shown to every process of this user, and a shell
writes options into its history.
"""

from __future__ import annotations

import getpass
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from psp.errors import KeyFileError
from psp.transport import Passphrase

_DESCRIPTOR_BYTES_MAX: Final = 4 * 1024
"""An old passphrase and a new one, each of the longest there is, and their line ends."""


class Passphrases:
    """Asks for passphrases, and remembers the one that opened a key of this run."""

    def __init__(self, descriptor: int | None = None) -> None:
        self._lines = None if descriptor is None else _read_lines(descriptor)
        self._remembered: Passphrase | None = None

    def __call__(self, path: Path) -> Passphrase:
        """Give the passphrase of a key file; the keys of one run share it, so it is asked once.

        Raises:
            KeyFileError: There is nobody to ask.
        """
        self._remembered = self._remembered or self.ask(f"Passphrase of {path}: ")
        return self._remembered

    def choose(self) -> Passphrase:
        """Have a new passphrase chosen; at a terminal it is typed twice.

        Raises:
            KeyFileError: There is nobody to ask, or the two differ.
        """
        chosen = self.ask("New passphrase: ")
        if self._lines is None and chosen != self.ask("The same again: "):
            raise KeyFileError("the two passphrases differ, so nothing was done. Try again.")
        return chosen

    def ask(self, prompt: str) -> Passphrase:
        """Take the next line of the descriptor, or ask at the terminal, which shows nothing of it.

        Raises:
            KeyFileError: There is nobody to ask.
        """
        if self._lines is not None:
            return Passphrase(next(self._lines, ""))
        return Passphrase(_at_terminal(lambda: getpass.getpass(prompt)))


def _at_terminal(ask: Callable[[], str]) -> str:
    try:
        with warnings.catch_warnings():
            # getpass falls back to a visible line where there is no terminal: that is not asking.
            warnings.simplefilter("error", getpass.GetPassWarning)
            return ask()
    except (getpass.GetPassWarning, EOFError, OSError):
        raise KeyFileError(
            "a passphrase is needed and there is no terminal to ask at. Give it on a file"
            " descriptor: --passphrase-fd 3 3< FILE"
        ) from None


def _read_lines(descriptor: int) -> Iterator[str]:
    try:
        with os.fdopen(descriptor, "rb", closefd=descriptor > 2) as file:
            data = file.read(_DESCRIPTOR_BYTES_MAX + 1)
    except OSError as exc:
        raise KeyFileError(
            f"file descriptor {descriptor} cannot be read for a passphrase ({exc.strerror})."
            " Open it in the shell: --passphrase-fd 3 3< FILE"
        ) from None
    if len(data) > _DESCRIPTOR_BYTES_MAX:
        raise KeyFileError(
            f"more than {_DESCRIPTOR_BYTES_MAX} bytes came on file descriptor {descriptor}; give"
            " the passphrase alone, one a line."
        )
    return iter(data.decode("utf-8", "surrogateescape").splitlines())
