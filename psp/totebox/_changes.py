"""Changes of an archive that is being served: one at a time, in a thread, beside its readers.

A change works on its own connection to the index and appends to the ledger in trio's thread, where
all that is read from the ledger is read. Between the entry and the index's commit there is a moment
when the ledger is ahead of the rows. Answers then stay at the state before it (`Shared.settled`):
no answer ever names a state that it does not show.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, TypeVar, cast

import trio

from psp.endpoint import Exposed, method
from psp.errors import ArchiveError, CallFailed, Invalid, PSPError
from psp.ledger import Appended, Ledger
from psp.values import Value

from ._archive import Archive
from ._granted import Shared
from ._operations import AT_ONCE, Operations

_T = TypeVar("_T")


class Changes:
    """The one place where a served archive is changed.

    Attributes:
        turn: Taken by whoever changes it, or must see it stand still.
    """

    def __init__(self, desk: Shared, on_pins: Callable[[], None]) -> None:
        """Share the archive's index with readers.

        Args:
            on_pins: Called in trio's thread when pairings or tables may have changed.
        """
        self._desk = desk
        self._on_pins = on_pins
        self._index = desk.archive.index.share()
        self.turn = trio.Lock()
        # What went wrong after an entry was durable; only opening the archive again repairs it.
        self._failure: str | None = None
        desk.changes = self

    def close(self) -> None:
        self._desk.changes = None
        self._index.close()

    async def do(self, name: str, arguments: list[Any]) -> Value:
        """Do one operation.

        Raises:
            Invalid: There is none of that name, or its arguments are others.
            PSPError: As the operation says.
        """
        operation = Operations.psp_methods.get(name)
        if operation is None:
            raise Invalid(
                f"the archive is served by a release that has no operation {name[:40]!r}. Stop it,"
                " or use the release that serves it."
            )
        operation.check_arguments(arguments)
        if (at_once := AT_ONCE.get(name)) is None:
            return await self._in_turn(name, arguments)
        async with self._desk.memory.turn:
            # In the thread where grants are verified: none is verified half before, half after.
            at_once(self._desk.archive, arguments)
        self._on_pins()
        with trio.CancelScope(shield=True):  # It is done, so it is recorded, whoever has gone.
            result = await self._in_turn(name, arguments)
        return result

    async def _in_turn(self, name: str, arguments: list[Any]) -> Value:
        operation = Operations.psp_methods[name]

        def do(archive: Archive) -> Value:
            operations = Operations(archive, lambda *_: trio.from_thread.check_cancelled())
            return cast(Value, operation.function(operations, *arguments))

        async with self.turn:
            return await self.run(do)

    async def run(self, function: Callable[[Archive], _T]) -> _T:
        """Do something with the archive in a worker thread; for whoever has the `turn`.

        Raises:
            ArchiveError: A change before this one could not be finished.
            PSPError: As the function says.
        """
        self._check_sound()
        archive = self._desk.archive
        view = self._view(trio.lowlevel.current_trio_token())
        try:
            return await trio.to_thread.run_sync(function, view)
        except Exception as exc:  # Whatever it is: an entry may be ahead of what it stands for.
            if self._desk.settled not in (None, archive.ledger.checkpoint):
                self._failure = str(exc)
            raise
        finally:
            archive.manifest = view.manifest
            if self._failure is None:
                self._desk.settled = None
            self._on_pins()

    def _check_sound(self) -> None:
        if self._failure is not None:
            raise ArchiveError(
                "this archive takes no changes since one could not be finished:"
                f" {self._failure} Stop it and serve it again."
            )

    def _view(self, token: trio.lowlevel.TrioToken) -> Archive:
        """The archive as a worker thread may use it."""
        view = copy.copy(self._desk.archive)
        view.index = self._index
        view.ledger = cast(Ledger, _LedgerAcross(self._desk, token))
        view._opened = ExitStack()  # Closing the view closes nothing that readers use.
        return view


class _LedgerAcross:
    """A ledger as a worker thread may use it: whatever is asked of it is done in trio's thread."""

    def __init__(self, desk: Shared, token: trio.lowlevel.TrioToken) -> None:
        self._desk = desk
        self._token = token

    def append(self, entries: Sequence[bytes]) -> Appended:
        return self._there(self._append, entries)

    def _append(self, entries: Sequence[bytes]) -> Appended:
        ledger = self._desk.archive.ledger
        if self._desk.settled is None:
            self._desk.settled = ledger.checkpoint
        return ledger.append(entries)

    def __getattr__(self, name: str) -> Any:
        found = self._there(getattr, self._desk.archive.ledger, name)
        return partial(self._there, found) if callable(found) else found

    def _there(self, function: Callable[..., _T], *arguments: Any) -> _T:
        # By the token: a change whose caller has gone is finished all the same, once it appends.
        return trio.from_thread.run_sync(function, *arguments, trio_token=self._token)


class Control(Exposed):
    """What the owner's commands call in the process that serves the archive."""

    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    @method
    async def do(self, operation: str, arguments: list[Value]) -> dict[str, Value]:
        """Do an operation. A refusal is a result too: its words are for the owner, who is here."""
        try:
            return {"done": await self._changes.do(operation, arguments)}
        except CallFailed:
            raise
        except PSPError as exc:
            return {"refused": str(exc), "kind": type(exc).__name__}
