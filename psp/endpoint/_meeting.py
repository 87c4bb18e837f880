"""Two machines meet to be paired: the sockets and the clock around `psp.capability.Ceremony`.

Plain TCP, for minutes, on a port of its own: three frames of fixed size and nothing else. What is
said is public; that nobody has changed it is what the two people compare.
"""

from __future__ import annotations

import secrets
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

import trio

from psp.capability import PAIRING_NONCE_BYTES, Ceremony, Introduction, Role
from psp.errors import CapabilityError, EstateError, Unreachable
from psp.transport import MachineKey, PeerCertificate, check_certificate_untrusted

from ._dispatch import Log
from ._limits import (
    MEETING_FRAMES_S_MAX,
    MEETING_PEOPLE_S_MAX,
    MEETINGS_GREETED_MAX,
)


@dataclass(frozen=True, slots=True)
class Met:
    """Who was met, after both people have said yes."""

    introduction: Introduction
    certificate: PeerCertificate


Compare: TypeAlias = Callable[[str, Met], Awaitable[bool]]
"""Shows the code to the person here; gives whether it is the one on the other screen."""

_GONE: Final = "the other side has gone, or did not answer in time"


async def meet(host: str, port: int, *, key: MachineKey, name: str, compare: Compare) -> Met | None:
    """Ask a listening archive to be paired. One try.

    Args:
        name: What this machine would like to be called there.
        compare: Asks the person here.

    Returns:
        The archive; None if one of the two people has said no.

    Raises:
        Unreachable: Nobody listens there, or not any more.
        CapabilityError, EstateError: What came was no such ceremony.
    """
    try:
        stream = await trio.open_tcp_stream(host, port)
    except OSError as exc:
        raise Unreachable(
            f"no connection to {host}:{port} ({exc}). Check that `psp pair listen` runs there."
        ) from exc
    own = introduction(key, name)
    async with stream:
        return await _hold(stream, Role.CALLER, own, key, compare, on_revealed=lambda: None)


async def await_meeting(
    listeners: list[trio.SocketListener],
    *,
    key: MachineKey,
    own: Introduction,
    compare: Compare,
    within_s: float,
    log: Log,
) -> Met | None:
    """Take one machine's request to be paired; see `meet`.

    Whoever does not speak the ceremony is put out in seconds, and does not count. Once this side
    has revealed its nonce that was the one try, however it ends: a second one would let whoever
    stands between try again until the codes fit.

    Raises:
        EstateError: Nobody came in time.
        CapabilityError, EstateError, Unreachable: The one that came broke off when the code was
            known.
    """
    meeting = _Meeting(key, own, compare, log)
    try:
        with trio.move_on_after(within_s) as time:
            async with trio.open_nursery() as nursery:
                for listener in listeners:
                    nursery.start_soon(meeting.accept_all, listener, nursery.cancel_scope)
    finally:
        for listener in listeners:
            await listener.aclose()
    if time.cancelled_caught:
        raise EstateError(
            f"no machine was paired within {within_s:g} seconds. Begin again when both machines are"
            " at hand."
        )
    if meeting.failure is not None:
        raise meeting.failure
    return meeting.met


def introduction(
    key: MachineKey, name: str, *, archive_id: bytes | None = None, port: int = 0
) -> Introduction:
    """Say who this machine is."""
    der = ssl.PEM_cert_to_DER_cert(key.certificate_pem)
    if archive_id is None:
        return Introduction(name=name, certificate=der)
    return Introduction(name=name, certificate=der, archive_id=archive_id, port=port)


def certificate_of(own: Introduction) -> PeerCertificate:
    """Check the certificate of an introduction for pairing.

    Raises:
        EstateError: Whatever is wrong with it. Nothing else is raised.
    """
    return check_certificate_untrusted(ssl.DER_cert_to_PEM_cert(own.certificate))


class _Meeting:
    """The listener's side: many may knock, one gets in."""

    def __init__(self, key: MachineKey, own: Introduction, compare: Compare, log: Log) -> None:
        self._key, self._own, self._compare, self._log = key, own, compare, log
        # Connections that have not said their first frame yet, oldest first.
        self._greeting: dict[trio.CancelScope, None] = {}
        self._is_taken = False
        self.is_over = False
        self.met: Met | None = None
        self.failure: CapabilityError | EstateError | Unreachable | None = None

    async def accept_all(self, listener: trio.SocketListener, all_of_it: trio.CancelScope) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                stream = await listener.accept()
                if len(self._greeting) >= MEETINGS_GREETED_MAX:
                    oldest = next(iter(self._greeting))
                    del self._greeting[oldest]
                    oldest.cancel()
                scope = trio.CancelScope()
                self._greeting[scope] = None
                nursery.start_soon(self._greet, stream, scope, all_of_it)

    async def _greet(
        self, stream: trio.SocketStream, scope: trio.CancelScope, all_of_it: trio.CancelScope
    ) -> None:
        ceremony = _ceremony(Role.LISTENER, self._own, self._key)
        has_slot = False
        try:
            async with stream:
                with scope:
                    commit = await _receive(stream, ceremony.wanted_bytes)
                    reply = ceremony.receive_untrusted(commit)
                    has_slot, self._is_taken = not self._is_taken, True
                self._greeting.pop(scope, None)
                if has_slot:
                    self.met = await _go_on(
                        stream, ceremony, reply, self._compare, on_revealed=self._spend
                    )
        except (CapabilityError, EstateError, Unreachable) as exc:
            self._log(f"a request to be paired was put out: {exc}")
            self.failure = exc if self.is_over else None
        finally:
            self._greeting.pop(scope, None)
            if has_slot:
                self._is_taken = False
                if self.is_over:
                    all_of_it.cancel()

    def _spend(self) -> None:
        self.is_over = True


async def _hold(
    stream: trio.SocketStream,
    role: Role,
    own: Introduction,
    key: MachineKey,
    compare: Compare,
    on_revealed: Callable[[], None],
) -> Met | None:
    ceremony = _ceremony(role, own, key)
    await _send(stream, ceremony.start())
    reply = ceremony.receive_untrusted(await _receive(stream, ceremony.wanted_bytes))
    return await _go_on(stream, ceremony, reply, compare, on_revealed)


async def _go_on(
    stream: trio.SocketStream,
    ceremony: Ceremony,
    reply: bytes,
    compare: Compare,
    on_revealed: Callable[[], None],
) -> Met | None:
    """From this side's answer to the first frame on, to the end; both sides do the same."""
    with trio.move_on_after(MEETING_FRAMES_S_MAX) as time:
        await _send(stream, reply)
        reply = ceremony.receive_untrusted(await _receive(stream, ceremony.wanted_bytes))
        on_revealed()
        await _send(stream, reply)
    if time.cancelled_caught or ceremony.peer is None:
        _gone()
    met = Met(ceremony.peer, certificate_of(ceremony.peer))
    with trio.move_on_after(MEETING_PEOPLE_S_MAX):
        agreed = await compare(ceremony.code, met)
        await _send(stream, ceremony.decide(agreed=agreed))
        if not agreed:
            return None
        ceremony.receive_untrusted(await _receive(stream, ceremony.wanted_bytes, forever=True))
        return met if ceremony.agreed else None
    _gone()


def _ceremony(role: Role, own: Introduction, key: MachineKey) -> Ceremony:
    return Ceremony(
        role,
        own,
        nonce=secrets.token_bytes(PAIRING_NONCE_BYTES),
        signer=key,
        read_key=_key_of,
    )


def _key_of(certificate: bytes) -> bytes:
    return check_certificate_untrusted(ssl.DER_cert_to_PEM_cert(certificate)).public_bytes


async def _receive(stream: trio.SocketStream, size: int, *, forever: bool = False) -> bytes:
    """Read one frame: exactly so many bytes, in a time that no byte prolongs."""
    data = b""
    with trio.move_on_after(float("inf") if forever else MEETING_FRAMES_S_MAX):
        while len(data) < size:
            try:
                more = await stream.receive_some(size - len(data))
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                break
            if not more:
                break
            data += more
    if len(data) < size:
        _gone()
    return data


async def _send(stream: trio.SocketStream, data: bytes) -> None:
    try:
        await stream.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        _gone()


def _gone() -> NoReturn:
    raise Unreachable(f"the pairing ceremony was ended: {_GONE}. Begin again on both machines.")
