"""Who asks: a tenant of an estate, whose keys may be sealed with a passphrase."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cyclopts import Parameter

from psp.aggregator import Fleet, Roster, TrioFleet, open_fleet
from psp.transport import is_sealed_file

from ._common import find_estate
from ._passphrase import Passphrases


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Who asks, and which estate.

    Parameters
    ----------
    estate
        The estate's directory.
    tenant
        Who asks; by default the estate's first tenant.
    passphrase_fd
        Read the passphrase of sealed keys from this file descriptor instead of asking.
    """

    estate: Path | None = None
    tenant: str | None = None
    passphrase_fd: int | None = None

    def fleet(self) -> Fleet:
        """Give the fleet, closed; every passphrase that it needs has been asked for.

        Raises:
            EstateError: The estate or the tenant cannot be read.
            KeyFileError: A key cannot be read, or is sealed and there is nobody to ask.
        """
        roster, passphrases = self._prepare()
        return Fleet(roster, tenant=self.tenant, passphrase=passphrases)

    def trio_fleet(self) -> AbstractAsyncContextManager[TrioFleet]:
        """As `fleet`, to be entered in a trio program."""
        roster, passphrases = self._prepare()
        return open_fleet(roster, tenant=self.tenant, passphrase=passphrases)

    def _prepare(self) -> tuple[Roster, Passphrases]:
        """Read the estate and ask, in the thread that has the terminal.

        Where the keys are opened, in another one, Ctrl-C would leave a terminal that shows nothing
        of what is typed.
        """
        roster = Roster.load(find_estate(self.estate))
        passphrases, asking = Passphrases(self.passphrase_fd), roster.tenant(self.tenant)
        for file in (asking.key_file, *([asking.seat.operator_file] if asking.seat else [])):
            if is_sealed_file(file):
                passphrases(file)
        return roster, passphrases


NOBODY_NAMED: Final = Asker()
