"""Serving one archive: open it, let the paired machines in, answer until cancelled."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from functools import partial
from pathlib import Path

import trio

from psp.endpoint import Exposed, serve, serve_local
from psp.errors import EstateError, LocalRefused
from psp.transport import HandOver, Tap

from ._administer import CONTROL_DIRECTORY, manifest_of
from ._archive import Archive
from ._changes import Changes, Control
from ._confinement import Confinement
from ._granted import Log
from ._metrics import metrics_served
from ._service import Desk

_logger = logging.getLogger("psp.totebox")


async def serve_archive(
    directory: Path,
    *,
    host: str,
    port: int,
    hand_over: HandOver | None = None,
    tap: Tap | None = None,
    log: Log = _logger.warning,
    objects: Mapping[str, Exposed] | None = None,
    confinement: Confinement | None = None,
    metrics_port: int | None = None,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve one archive until cancelled. Meanwhile nobody else can write it.

    Args:
        port: 0 for any; `task_status` gives the address that was bound.
        hand_over: Passes results to readers on this machine; `listen_for_readers` makes one. It
            ends with this, however it ends.
        tap: Sees every byte in the clear.
        log: Takes one text for each refusal and fault; it is for the owner alone.
        objects: What the program exposes beside its archive, by name: to grants that name it too.
        metrics_port: Answers Prometheus here, on this machine alone; 0 for any, None for nobody.
        confinement: What `confine` gave, for health to tell; None if nothing holds this process.

    Raises:
        ArchiveError: No archive is here, it is in use, or its parts disagree.
        LedgerError: The ledger is damaged or not signed by its key.
        EstateError: A key cannot be read, or a port is in use.
        MissingExtra: What the archive's engine or its metrics need is not installed.
    """
    with ExitStack() as parts:
        if hand_over is not None:
            parts.callback(hand_over.end)
        opening = Archive.open(directory, doing=f"which serves it on {host} port {port}")
        archive = parts.enter_context(opening)
        desk = Desk(archive, log, objects=objects or {})
        if confinement is not None:
            desk.confinement = str(confinement)
        changes = parts.enter_context(closing(Changes(desk, desk.follow_pairings)))
        if metrics_port is not None:
            parts.enter_context(metrics_served(desk, metrics_port))
        await _beside(
            partial(_run_parts, desk, changes, hand_over),
            lambda: serve(
                key=archive.machine_key(),
                archive_id=archive.manifest.archive_id,
                pins=desk.pins,
                bootstrap=desk.bootstrap,
                present=desk.present,
                host=host,
                port=port,
                tap=tap,
                log=log,
                task_status=task_status,
            ),
        )


@asynccontextmanager
async def serving(
    directory: Path,
    *,
    host: str,
    port: int,
    objects: Mapping[str, Exposed] | None = None,
    log: Log = _logger.warning,
) -> AsyncIterator[tuple[str, int]]:
    """Serve an archive while a block runs; give its address. Otherwise as `serve_archive`."""
    start = partial(serve_archive, directory, host=host, port=port, objects=objects, log=log)
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        address: tuple[str, int] = await nursery.start(start)
        try:
            yield address
        except Exception as exc:
            failure = exc  # Kept: out of a nursery it would come as a group.
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _run_parts(
    desk: Desk,
    changes: Changes,
    hand_over: HandOver | None,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    """Keep what serving needs beside the answers, and take the owner's commands."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.keep)
        if hand_over is not None:
            desk.hand_over = hand_over
            nursery.start_soon(hand_over.run)
        try:
            await serve_local(
                desk.archive.directory / CONTROL_DIRECTORY,
                archive_id=desk.archive.manifest.archive_id,
                bootstrap=lambda: Control(changes),
                log=desk.log,
                task_status=task_status,
            )
        except EstateError as exc:
            # Readers are served all the same; commands are told that the archive is in use.
            desk.log(f"commands are not taken while this archive is served: {exc}")
            task_status.started()


def listen_for_readers(
    directory: Path, runtime: Path | None, log: Log, *, archive_id: bytes | None = None
) -> HandOver | None:
    """Have an archive hand its results over to readers on this machine: call this before it
    confines itself, which lets it take no place in any directory but its own.

    Args:
        directory: The archive.
        runtime: Where its readers look (`runtime_directory`); None for nobody.
        log: Told why nothing is handed over. The results come over TLS then.
        archive_id: Whose place it is, for who knows that better than the archive's own files, which
            what breaks into the archive can write.

    Raises:
        ArchiveError: No archive is here, and no id was given.
    """
    if runtime is None:
        return None
    hand_over = HandOver(runtime, archive_id or manifest_of(directory).archive_id)
    try:
        HandOver.prepare(runtime)
        hand_over.listen()
    except LocalRefused as exc:
        log(f"results are not handed over on this machine: {exc}")
        return None
    return hand_over


async def _beside(
    running: Callable[..., Awaitable[None]], serving: Callable[[], Awaitable[None]]
) -> None:
    """Do one thing as long as the other lasts, whose failure comes as it is, not in a group."""
    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        await nursery.start(running)
        try:
            await serving()
        except Exception as exc:
            failure = exc
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
