"""The listener: let paired machines in, and lose nothing to those that are not."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from typing import Final

import trio

from psp.errors import EstateError
from psp.rpc import GrantRooms
from psp.transport import (
    CONNECTIONS_PER_PEER_MAX,
    HANDSHAKE_S_MAX,
    HANDSHAKES_MAX,
    MachineKey,
    Peer,
    Pin,
    Refused,
    Tap,
    TlsStream,
    accept_peer,
    listener_context,
)

from ._dispatch import Log, report_fault
from ._exposed import Exposed
from ._limits import ACCEPT_PAUSE_S, BACKLOG
from ._middleware import Middleware, compose
from ._pins import Pins
from ._served import Present, Served

_OUT_OF_RESOURCES: Final = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_REFUSAL_LOG_S: Final = 1.0


async def serve(
    *,
    key: MachineKey,
    archive_id: bytes,
    pins: Pins | Sequence[Pin],
    bootstrap: Callable[[Peer], Exposed],
    present: Present,
    host: str,
    port: int,
    log: Log,
    tap: Tap | None = None,
    middleware: Sequence[Middleware] = (),
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve one archive to the paired machines until cancelled.

    When cancelled it tells every peer that it is going away, lets calls that have started end (for
    five seconds at most), and then closes.

    Args:
        pins: The machines that may connect. Nobody else gets past the handshake. Give `Pins`
            to change them meanwhile: who is removed is disconnected at once.
        bootstrap: Makes what a peer can call by its pairing alone.
        present: Verifies a token that a peer shows and makes what it grants; raises `CallFailed`.
        port: 0 for any; `task_status` gives the address that was bound.
        log: Takes one text for each fault and refusal; it never holds arguments or tokens.
        tap: Sees every byte in the clear.
        middleware: Told of each call before its handler runs and when it has ended.

    Raises:
        EstateError: The port is in use, or the address is not this machine's.
    """
    live = pins if isinstance(pins, Pins) else Pins(pins)
    listener = _Listener(key, archive_id, live, bootstrap, present, tap, compose(middleware), log)
    with await _bind(host, port) as sock:
        name = sock.getsockname()
        async with trio.open_nursery() as nursery:
            task_status.started((name[0], name[1]))
            try:
                await listener.accept_all(sock, nursery)
            finally:
                # Nothing here waits: the connections shield themselves and end on their own.
                sock.close()
                listener.stop()


class _Listener:
    def __init__(
        self,
        key: MachineKey,
        archive_id: bytes,
        pins: Pins,
        bootstrap: Callable[[Peer], Exposed],
        present: Present,
        tap: Tap | None,
        around: Middleware | None,
        log: Log,
    ) -> None:
        self._key = key
        self._archive_id = archive_id
        self._pins = pins
        self._context = self._make_context()
        pins.on_change(self._follow_pins)
        self._bootstrap = bootstrap
        self._present = present
        self._tap = tap
        self._around = around
        self._log = log
        # What each grant holds, over all connections.
        self._grants = GrantRooms()
        # Handshakes under way, oldest first (a dict keeps the order of insertion).
        self._greeting: dict[int, trio.CancelScope] = {}
        self._served: set[Served] = set()
        # What ends each connection at once, by the key of its peer.
        self._ends: defaultdict[bytes, set[trio.CancelScope]] = defaultdict(set)
        self._per_peer: Counter[bytes] = Counter()
        self._refusals_unlogged = 0
        self._next_refusal_log_s = -1.0
        self._accepted = 0
        self._is_stopping = False

    async def accept_all(self, sock: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        while True:
            try:
                accepted, _ = await sock.accept()
            except OSError as exc:
                if exc.errno in _OUT_OF_RESOURCES:
                    self._log(f"no connection can be accepted now: {exc.strerror}")
                    await trio.sleep(ACCEPT_PAUSE_S)
                continue  # Anything else is the newcomer's own end, not the listener's.
            if len(self._greeting) >= HANDSHAKES_MAX:
                # The oldest has had more time than a handshake needs; the newest may be a friend.
                self._greeting.pop(next(iter(self._greeting))).cancel()
            self._accepted += 1
            scope = trio.CancelScope()
            self._greeting[self._accepted] = scope
            nursery.start_soon(
                self._welcome, socket.socket(fileno=accepted.detach()), self._accepted, scope
            )

    def _make_context(self) -> ssl.SSLContext:
        pins = [*self._pins.by_key.values()]
        return listener_context(self._key, pins, archive_id=self._archive_id)

    def _follow_pins(self, ended: Collection[bytes]) -> None:
        """The pairings have changed: close what is over, and greet by the new ones from now on."""
        self._context = self._make_context()
        for key in ended:
            for scope in self._ends.pop(key, ()):
                scope.cancel()

    def stop(self) -> None:
        self._is_stopping = True
        for served in self._served:
            served.stop()

    async def _welcome(self, sock: socket.socket, number: int, scope: trio.CancelScope) -> None:
        """Shake hands with whoever has come, and serve a paired one to the end."""
        met: tuple[TlsStream, Peer] | None = None
        # Cancelled as the oldest, too late, or refused: `accept_peer` closes the socket each time.
        with scope:
            scope.deadline = trio.current_time() + HANDSHAKE_S_MAX
            try:
                met = await accept_peer(sock, self._context, self._pins.by_key)
            except Refused as exc:
                self._note_refusal(str(exc))
        self._greeting.pop(number, None)
        if met is None:
            return
        stream, peer = met
        if self._per_peer[peer.spki_hash] >= CONNECTIONS_PER_PEER_MAX:
            self._note_refusal(f"{peer.name} has {CONNECTIONS_PER_PEER_MAX} connections already")
            stream.close()
            return
        await self._serve_peer(stream, peer)

    async def _serve_peer(self, stream: TlsStream, peer: Peer) -> None:
        self._per_peer[peer.spki_hash] += 1
        served: Served | None = None
        # Shielded: a stopping listener lets it drain; `stop` ends it in bounded time.
        end = trio.CancelScope(shield=True)
        self._ends[peer.spki_hash].add(end)
        try:
            served = Served(
                stream,
                peer,
                archive_id=self._archive_id,
                bootstrap=self._bootstrap(peer),
                present=self._present,
                grants=self._grants,
                tap=self._tap,
                around=self._around,
                log=self._log,
            )
            self._served.add(served)
            if self._is_stopping:  # Its handshake has ended in the very turn of the loop.
                served.stop()
            with end:
                await served.run()
        except Exception as exc:
            # One connection's fault, even one of ours, must not end the others.
            report_fault(f"connection of {peer.name}", exc, self._log)
        finally:
            stream.close()
            self._per_peer[peer.spki_hash] -= 1
            self._forget_end(peer.spki_hash, end)
            if served is not None:
                self._served.discard(served)

    def _forget_end(self, key: bytes, end: trio.CancelScope) -> None:
        self._ends[key].discard(end)
        if not self._ends[key]:
            del self._ends[key]

    def _note_refusal(self, why: str) -> None:
        """Log at most one refusal a second: a stranger must not fill our disk with our own log."""
        now = trio.current_time()
        if now < self._next_refusal_log_s:
            self._refusals_unlogged += 1
            return
        more = f" ({self._refusals_unlogged} more before it)" if self._refusals_unlogged else ""
        self._log(f"refused a connection: {why}{more}")
        self._refusals_unlogged = 0
        self._next_refusal_log_s = now + _REFUSAL_LOG_S


async def _bind(host: str, port: int) -> trio.socket.SocketType:
    where = f"{host}:{port}"
    try:
        found = await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        sock = trio.socket.socket(family, kind, protocol)
    except OSError as exc:
        raise EstateError(
            f"{where} is not an address to listen on ({exc.strerror or exc})."
            " Choose an address of this machine, such as 127.0.0.1."
        ) from exc
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        await sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise EstateError(_bind_problem(where, exc)) from exc
    return sock


def _bind_problem(where: str, exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return (
            f"{where} is in use by another program."
            f" Stop it (`ss -ltnp` on this machine names it), or choose another port."
        )
    if exc.errno == errno.EACCES:
        return f"this user may not listen on {where}. Choose a port from 1024 up."
    return (
        f"cannot listen on {where} ({os.strerror(exc.errno or 0)})."
        " Choose an address of this machine, such as 127.0.0.1."
    )
