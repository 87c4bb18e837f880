"""The one method of a grant that changes an archive: `do`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial

from psp.capability import UNLIMITED, Grant
from psp.endpoint import method
from psp.errors import (
    ArchiveError,
    CapabilityError,
    Denied,
    HandlerFailed,
    Invalid,
    LedgerError,
    Unimplemented,
)
from psp.values import Value

from ._asked import Asked, check_right, read_command_untrusted
from ._clocks import instant
from ._command_acts import act, foresee, recall
from ._granted import Granted, Log, Shared
from ._limits import REFUSAL_CHARACTERS_MAX
from ._live import LiveGrant
from ._reader import Reader


class Commanded(Granted):
    """A grant as far as it changes its archive."""

    def __init__(
        self, desk: Shared, time: LiveGrant, grant: Grant, reader: Reader, operator: str
    ) -> None:
        """Take the name under which the machine that presents the grant is paired: `operator`."""
        super().__init__(desk, time)
        self._grant = grant
        self._scope = grant.scope
        self._reader = reader
        self._operator = operator

    @method
    async def do(
        self,
        command: str,
        arguments: dict[str, Value],
        key: bytes,
        preview: bool = False,
        statement: bytes = b"",
    ) -> Mapping[str, Value]:
        """Do a command, once for each key; or say what it would do, and change nothing.

        Args:
            key: 24 bytes; see `psp.capability.CommandKey`.
            statement: The transition that the holder has signed, for `suspend` and `resume`.
        """
        desk = self._desk
        asked = read_command_untrusted(
            command, arguments, key, grant=self._grant, operator=self._operator
        )
        right = check_right(asked, self._scope, desk.archive.manifest)
        if (changes := desk.changes) is None:
            raise Unimplemented("the program that serves this archive lets nothing change it")
        async with changes.turn:
            self.check_time()  # Again: it may have waited for a large file to be sealed.
            with _in_words(desk.log, asked):
                now = desk.clocks()
                now_s = int(now.wall_s)
                if preview:
                    return await changes.run(
                        partial(foresee, asked=asked, right=right, now_s=now_s)
                    )
                done = await changes.run(partial(recall, asked=asked, now_s=now_s))
                if done is None:
                    await self._let_in(asked)
                    done = await changes.run(
                        partial(
                            act,
                            asked=asked,
                            statement=statement,
                            now=instant(now),
                            rows_max=self._rows_max(asked),
                        )
                    )
                return done

    async def _let_in(self, asked: Asked) -> None:
        """Count it, as a read is; there must be room on the disk for what it leaves."""
        self._reader.admit()
        table = asked.arguments.get("table")
        if table is not None and (spend := self._desk.memory.spender(self._grant, table)):
            await spend(uses=1)
        self.check_time()  # Again: the owner's word does not wait while the ledger is read.

    def _rows_max(self, asked: Asked) -> int | None:
        rule = self._scope.tables.get(asked.arguments.get("table", ""))
        return None if rule is None or rule.rows_max == UNLIMITED else rule.rows_max


@contextmanager
def _in_words(log: Log, asked: Asked) -> Iterator[None]:
    """Turn what an archive says to its owner into what a stranger may hear."""
    try:
        yield
    except (Invalid, Denied) as exc:
        raise type(exc)(str(exc)[:REFUSAL_CHARACTERS_MAX]) from None
    except CapabilityError as exc:
        raise Invalid(str(exc)[:REFUSAL_CHARACTERS_MAX]) from None
    except (ArchiveError, LedgerError) as exc:
        # It names files of the owner's.
        log(f"{asked.command} for {asked.operator} was not done: {exc}")
        raise HandlerFailed(
            f"this archive could not do {asked.command}, and its operator's log says why. Try again"
            " under the same key"
        ) from None
