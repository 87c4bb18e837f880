"""The parent of an estate's archives on one machine: one process each, forked with imports loaded.

Run as `python -m psp.estate._supervisor`. It reads one JSON line from standard input,

    {"members": [{"name": "98001", "directory": "…", "host": "::1", "port": 7411}, …]}

and writes one JSON line per event to standard output: `ready` with pid and port, `log` with what an
archive tells its owner, `failed` with a sentence, `ended` with the exit status. When its input ends
(its own parent stopped, or was killed) it stops every archive and leaves; an archive whose
supervisor was killed sees its lifeline end and leaves as well. So no way of dying leaves a process
behind.

Forking beats starting seventy interpreters: the imports, about 0.4 s and 40 MB each, are made once
and their pages are shared. This process therefore starts no thread and no event loop of its own.
"""

from __future__ import annotations

import gc
import json
import math
import os
import selectors
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import trio

from psp.errors import PSPError
from psp.totebox import (
    Confinement,
    confine,
    listen_for_readers,
    load_history,
    numeric_host,
    serve_archive,
)
from psp.transport import HandOver, runtime_directory

TEXT_CHARACTERS_MAX: Final = 600
"""Six bytes each in JSON's worst case, so 3,600 of a pipe's 4,096."""

STOP_S: Final = 5.0
"""How long archives may take to answer what is in flight. An answer takes milliseconds; five
seconds is what people wait for before they press Ctrl-C again."""


@dataclass(slots=True)
class _Child:
    name: str
    pid: int
    status: int  # Read end of its status pipe; end of file means that the process is gone.
    hand_over: HandOver | None


def main() -> int:
    """Start what standard input names, report, and stop when standard input ends."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; our parent decides.
    members = json.loads(sys.stdin.readline() or '{"members": []}')["members"]
    # The write end lives in this process alone, so children see its end when it is gone.
    lifeline, held = os.pipe()
    # One processor for each archive's small matrices: numpy's library else makes room for all of
    # them in every process, and starts threads that a fork would lose.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    load_history()
    gc.freeze()  # Collections in children must not copy the shared pages.
    children: list[_Child] = []
    for member in members:
        children.append(_fork(member, lifeline, held, [child.status for child in children]))
    os.close(lifeline)
    _supervise({child.status: child for child in children})
    return 0


def _fork(member: dict[str, Any], lifeline: int, held: int, siblings: Sequence[int] = ()) -> _Child:
    reader, writer = os.pipe()
    # Before it is confined, and by us, who can clear its place when it has gone.
    hand_over = _listen(member)
    pid = os.fork()
    if pid:
        os.close(writer)
        if hand_over is not None:
            hand_over.close()  # The child's own goes on.
        return _Child(name=member["name"], pid=pid, status=reader, hand_over=hand_over)
    for descriptor in (reader, held, *siblings):
        os.close(descriptor)
    _be_archive(member, hand_over, writer, lifeline)


def _listen(member: dict[str, Any]) -> HandOver | None:
    def log(text: str) -> None:
        _emit(member=member["name"], event="log", text=text)

    # By the estate's word: what breaks into an archive can write another's id into its manifest.
    archive_id = bytes.fromhex(member["archive_id"])
    return listen_for_readers(
        Path(member["directory"]), runtime_directory(), log, archive_id=archive_id
    )


def _be_archive(
    member: dict[str, Any], hand_over: HandOver | None, status: int, lifeline: int
) -> NoReturn:
    code = 1
    os.set_blocking(status, False)  # See `_say`.
    try:
        # The supervisor's input is not ours to read, nor to say what it says.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        host = numeric_host(member["host"], member["port"])
        held = confine(Path(member["directory"]), member["port"])
        code = trio.run(_serve, {**member, "host": host}, hand_over, held, status, lifeline)
    except BaseException as exc:  # The last stop of a forked process: report, never return.
        _say(status, event="failed", text=f"{type(exc).__name__}: {exc}")
    finally:
        os._exit(code)


async def _serve(
    member: dict[str, Any],
    hand_over: HandOver | None,
    confinement: Confinement,
    status: int,
    lifeline: int,
) -> int:
    refusal: PSPError | None = None
    try:
        async with trio.open_nursery() as nursery:
            host, port = await nursery.start(
                lambda task_status: serve_archive(
                    Path(member["directory"]),
                    host=member["host"],
                    port=member["port"],
                    hand_over=hand_over,
                    log=lambda text: _say(status, event="log", text=text),
                    confinement=confinement,
                    task_status=task_status,
                )
            )
            _say(status, event="ready", pid=os.getpid(), host=host, port=port)
            nursery.start_soon(_cancel_at_end_of, lifeline, nursery.cancel_scope)
            with trio.open_signal_receiver(signal.SIGTERM) as signals:
                async for _ in signals:
                    nursery.cancel_scope.cancel()
    except* PSPError as group:
        refusal = _first(group)
    if refusal is not None:
        _say(status, event="failed", text=str(refusal))
    return 0 if refusal is None else 1


def _first(group: BaseExceptionGroup[PSPError]) -> PSPError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _cancel_at_end_of(lifeline: int, scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(lifeline)  # Nothing is ever written: readable means ended.
    scope.cancel()


def _say(fd: int, **event: object) -> None:
    line = json.dumps({name: _shortened(value) for name, value in event.items()})
    # An archive does not wait for its owner to read: a paired machine that shows bad tokens writes
    # log lines, and a full pipe would stop the archive for everybody. The line is lost instead.
    with suppress(BlockingIOError):
        os.write(fd, (line + "\n").encode())


def _shortened(value: object) -> object:
    """Keep a line below what a pipe takes in one piece (4,096 bytes): it is never torn apart."""
    return value[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else value


def _supervise(children: dict[int, _Child]) -> None:
    """Pass events on until the input ends or SIGTERM comes, then stop all."""
    stop_reader, stop_writer = os.pipe()
    signal.signal(signal.SIGTERM, lambda _number, _frame: _say(stop_writer, event="stop"))
    with selectors.DefaultSelector() as selector:
        for fd in (0, stop_reader, *children):
            selector.register(fd, selectors.EVENT_READ)
        deadline = math.inf  # Until when those that were asked to stop may take their time.
        while children:
            left_s = None if deadline == math.inf else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                for child in children.values():  # Whoever still holds their pipes.
                    _end(child)
                return
            for key, _ in selector.select(left_s):
                if key.fd in children:
                    if not _relay(children[key.fd]):
                        selector.unregister(key.fd)
                        os.close(key.fd)
                        del children[key.fd]
                elif key.fd == stop_reader or not os.read(0, 4096):
                    selector.unregister(key.fd)
                    deadline = time.monotonic() + STOP_S
                    _signal(children.values(), signal.SIGTERM)


def _relay(child: _Child) -> bool:
    """Pass on what a child wrote; false when it is gone."""
    data = os.read(child.status, 65536)
    for event in _events_untrusted(data, child.pid):
        _emit(**event, member=child.name)
    if not data:
        _end(child)
    return bool(data)


def _end(child: _Child) -> None:
    """See a child's end. It has gone, or has closed its pipe: all others would wait for it."""
    _signal([child], signal.SIGKILL)
    _, status = os.waitpid(child.pid, 0)
    if child.hand_over is not None:
        child.hand_over.clear()
    _emit(member=child.name, event="ended", status=os.waitstatus_to_exitcode(status))


def _events_untrusted(data: bytes, pid: int) -> Iterator[dict[str, Any]]:
    """Give what an archive may say here. What has broken into it may write anything, and shall not
    end all others by it."""
    for line in data.decode(errors="replace").splitlines():
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            continue
        match said:
            case {"event": "log" | "failed" as event, "text": str(text)}:
                yield {"event": event, "text": text[:TEXT_CHARACTERS_MAX]}
            case {"event": "ready"}:
                yield {"event": "ready", "pid": pid}  # Not by its word: signals go there.


def _emit(**event: object) -> None:
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        # Our parent is gone; the end of standard input says the same and is acted on.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115


def _signal(children: Iterable[_Child], number: int) -> None:
    for child in children:
        try:
            os.kill(child.pid, number)
        except ProcessLookupError:
            continue  # Ended on its own; its status pipe says so.


if __name__ == "__main__":
    sys.exit(main())
