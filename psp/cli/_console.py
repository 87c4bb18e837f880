"""`psp console`: the estate on a live screen; and its two commands at the owner's machine."""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from functools import partial
from typing import Final

import trio
from cyclopts import App

from psp.aggregator import TrioFleet
from psp.console import Board, watch_board
from psp.errors import EstateError, PSPError

from ._asking import NOBODY_NAMED, Asker
from ._common import out

PAINTED_S: Final = 1.0
"""How often the screen is drawn: `since` counts seconds."""
LEAVES: Final = b"qQ"

console = App(name="console")
for _name in ("new", "renew"):
    console.command(f"psp.cli._console_new:{_name}", name=_name)


@console.default
def watch(
    *,
    asker: Asker = NOBODY_NAMED,
    members: str = "",
    every: float = 2.0,
    within: float = 2.0,
    ask: str | None = None,
) -> None:
    """Show the estate on a live screen: who is how, since when and why; q leaves.

    Parameters
    ----------
    members
        Whom to show, as in: region=north,kind=books
    every
        Seconds between two looks.
    within
        Seconds after which a member counts as late.
    ask
        Show each member's figures of this question, asked at each look: select member, … group by
        member. Without it, the entries of its ledger and the bytes of results that left it.
    """
    if not sys.stdin.isatty() or not out().is_terminal:
        raise EstateError("the live screen needs a terminal. Without one: psp status --json")
    if every <= 0 or within <= 0:
        raise EstateError("--every and --within are seconds above 0. Write them as in: --every 2")
    show = partial(_show, asker.trio_fleet(), members, every, within, ask)
    interrupted = False
    with _keys_as_they_come():
        try:
            trio.run(show)
        except* KeyboardInterrupt:  # In a group, as whatever ends a nursery.
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt


async def _show(
    opening: AbstractAsyncContextManager[TrioFleet],
    members: str,
    every: float,
    within: float,
    ask: str | None,
) -> None:
    raised: PSPError | None = None
    async with opening as fleet:
        board = Board(fleet.roster.name)
        with watch_board(board, out()) as paint:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_until_left, nursery.cancel_scope)
                nursery.start_soon(_paint, paint)
                try:
                    while True:
                        await _look(fleet, board, members, within, ask)
                        paint()
                        await trio.sleep(every)
                except PSPError as exc:  # Carried around the nursery, which would wrap it.
                    raised = exc
                    nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised


async def _look(
    fleet: TrioFleet, board: Board, members: str, within: float, ask: str | None
) -> None:
    status = await fleet.status(deadline_s=within, members=members)
    board.note_status(status.to_dict())
    if ask is None:
        return
    try:
        answer = (await fleet.ask(ask, deadline_s=within, members=members)).to_dict()
    except PSPError as exc:
        board.note_trouble(str(exc))
        return
    if answer["columns"][:1] != ["member"]:
        raise EstateError(
            "the figures of a question are shown by member, and its first column is"
            f" {answer['columns'][0]!r}. Write: select member, … group by member"
        )
    board.note_answer(answer)


async def _paint(paint: Callable[[], None]) -> None:
    while True:
        paint()
        await trio.sleep(PAINTED_S)


async def _until_left(scope: trio.CancelScope) -> None:
    while True:
        await trio.lowlevel.wait_readable(sys.stdin)
        if not (pressed := os.read(sys.stdin.fileno(), 64)) or pressed[:1] in LEAVES:
            scope.cancel()
            return


@contextmanager
def _keys_as_they_come() -> Iterator[None]:
    """Have keys without Return, and the terminal as it was afterwards, whatever happens."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
