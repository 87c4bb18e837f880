"""`psp pair`: which machines may connect to an archive, and how they come to know each other.

By a line that a person carries (`request`, `approve`, `accept`), or by a meeting over the network
in which two people compare a code (`listen`, `with`).
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Annotated, Final, Literal

import trio
from cyclopts import App, Parameter
from rich.table import Table as Grid

from psp.capability import LineKind, PairingLine, fingerprint, pairing_line_untrusted
from psp.console import neutral
from psp.endpoint import (
    Address,
    Met,
    await_meeting,
    certificate_of,
    introduction,
    meet,
)
from psp.errors import EstateError
from psp.totebox import administer, manifest_of, read_pairings
from psp.transport import MachineKey, PeerCertificate

from ._common import agreed, err, operator, out, print_json
from ._qr import show_qr, write_qr

pair = App(name="pair", help="Say which machines may connect to an archive.")

_Flag = Annotated[bool, Parameter(negative=())]
Ceiling = Literal["interface", "user", "input", "admin"]
_As = Annotated[Ceiling, Parameter(name="--as")]

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_LISTEN_S_MAX: Final = 3600


@pair.command(name="list")
def list_(archive: Path, /, *, json: _Flag = False) -> None:
    """Show the machines that may connect, and the most that a grant can give each.

    Parameters
    ----------
    archive
        The archive, served or not.
    json
        Print one JSON object for each machine.
    """
    manifest_of(archive)
    pairings = read_pairings(archive)
    if json:
        for one in pairings:
            machine = one.pin.certificate.fingerprint
            print_json({"name": one.pin.name, "as": one.ceiling.lower(), "machine": machine})
        return
    grid = Grid()
    for heading in ("machine", "as", "fingerprint"):
        grid.add_column(heading, no_wrap=True)
    for one in pairings:
        grid.add_row(one.pin.name, one.ceiling.lower(), one.pin.certificate.fingerprint)
    out().print(grid if pairings else "no machine is paired with this archive")


@pair.command
def remove(archive: Path, name: str, /) -> None:
    """End a pairing: the machine's connections are closed at once, and it cannot connect again.

    Parameters
    ----------
    archive
        The archive, served or not.
    name
        The machine, as in the list.
    """
    administer(archive, "unpair", name, operator(), doing="ending a pairing")
    out().print(neutral(f"{name} is not paired any more; the ledger has an entry"))


@pair.command
def request(*, key: Path, name: str, qr: _Flag = False, qr_file: Path | None = None) -> None:
    """Print the line by which this machine asks to be paired. Carry it to the archive's operator.

    Parameters
    ----------
    key
        This machine's key; made if it is not there.
    name
        What this machine would like to be called there.
    qr
        Draw the line as a QR code, too.
    qr_file
        Write it as a QR code to a .png or .svg file, too.
    """
    own = introduction(_load_or_make(key), name)
    _give(PairingLine(kind=LineKind.REQUEST, introduction=own), qr=qr, qr_file=qr_file)
    err().print(f"its fingerprint: {certificate_of(own).fingerprint}", soft_wrap=True)


@pair.command
def approve(
    archive: Path,
    line: str,
    /,
    *,
    as_: _As,
    address: str,
    name: str | None = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    qr: _Flag = False,
    qr_file: Path | None = None,
) -> None:
    """Pair with the machine that a line comes from, and print the line that goes back.

    Parameters
    ----------
    archive
        The archive, served or not.
    line
        What `psp pair request` has printed there.
    as_
        The most that a grant can give it: interface, user, input or admin.
    address
        Where that machine reaches this archive: HOST:PORT.
    name
        What to call it here; by default as it asks.
    yes
        Approve without being asked.
    qr
        Draw the line that goes back as a QR code, too.
    qr_file
        Write it as a QR code to a .png or .svg file, too.
    """
    asked = pairing_line_untrusted(line, LineKind.REQUEST).introduction
    certificate = certificate_of(asked)
    host, port = _host_and_port(address)
    called = name or asked.name
    err().print(f"{called!r} is the machine {certificate.fingerprint}", soft_wrap=True)
    if not yes and not agreed(f"Let it connect as {as_}?"):
        raise EstateError("the request was not approved, so nothing was paired. Say y, or --yes.")
    _pin_at_archive(archive, called, certificate, as_)
    machine, manifest = _key_of(archive), manifest_of(archive)
    reply = PairingLine(
        kind=LineKind.REPLY,
        introduction=introduction(
            machine, manifest.name, archive_id=manifest.archive_id, port=port
        ),
        for_key=certificate.spki_hash,
        host=host,
    )
    err().print("paired. Carry this line back:")
    _give(reply, qr=qr, qr_file=qr_file)


@pair.command
def accept(line: str, /, *, key: Path, to: Path = Path()) -> None:
    """Take the line that came back: from now on this machine knows the archive by its key.

    Parameters
    ----------
    line
        What `psp pair approve` has printed there.
    key
        The key that the request was made with.
    to
        The directory for NAME.pairing.toml.
    """
    _check_place(to)
    reply = pairing_line_untrusted(line, LineKind.REPLY)
    own = MachineKey.load(key)
    if reply.for_key != own.spki_hash:
        raise EstateError(
            f"this line answers the request of {fingerprint(reply.for_key)}, and {key} is"
            f" {own.fingerprint}. Give the key that the request was made with."
        )
    _pin_archive(Met(reply.introduction, certificate_of(reply.introduction)), reply.host, to)


@pair.command
def listen(
    archive: Path,
    /,
    *,
    as_: _As,
    address: str,
    for_: Annotated[str, Parameter(name="--for")] = "10m",
    host: str = "0.0.0.0",
    port: int = 0,
) -> None:
    """Wait for one machine that asks to be paired, show a code, and pair if both people say yes.

    Parameters
    ----------
    archive
        The archive, served or not.
    as_
        The most that a grant can give the machine: interface, user, input or admin.
    address
        Where the archive is served, or will be: HOST:PORT. The machine is told the port.
    for_
        How long to wait, as in 90s or 10m; at most an hour.
    host
        The address of this machine to listen on.
    port
        The port for the meeting; by default any free one.
    """
    _, served_port = _host_and_port(address)
    within_s = _seconds(for_)
    manifest = manifest_of(archive)
    key = _key_of(archive)
    own = introduction(key, manifest.name, archive_id=manifest.archive_id, port=served_port)

    async def wait() -> Met | None:
        try:
            listeners = await trio.open_tcp_listeners(port, host=host, backlog=16)
        except OSError as exc:
            raise EstateError(
                f"cannot listen on {host}:{port} ({exc}). Choose an address of this machine, and a"
                " free port."
            ) from exc
        bound = listeners[0].socket.getsockname()[1]
        err().print(f"listening on port {bound} for {for_}. There: psp pair with HOST:{bound}")
        return await await_meeting(
            listeners, key=key, own=own, compare=_compare, within_s=within_s, log=err().print
        )

    met = trio.run(wait)
    if met is None:
        raise _refused()
    _pin_at_archive(archive, met.introduction.name, met.certificate, as_)
    out().print(f"{met.introduction.name} is paired as {as_}; the ledger has an entry")


@pair.command(name="with")
def with_(address: str, /, *, key: Path, name: str, to: Path = Path()) -> None:
    """Ask an archive that listens to be paired, and compare the code.

    Parameters
    ----------
    address
        Where `psp pair listen` waits: HOST:PORT.
    key
        This machine's key; made if it is not there.
    name
        What this machine would like to be called there.
    to
        The directory for NAME.pairing.toml.
    """
    _check_place(to)  # Before two people have taken the trouble.
    host, port = _host_and_port(address)
    machine = _load_or_make(key)

    async def ask() -> Met | None:
        return await meet(host, port, key=machine, name=name, compare=_compare)

    met = trio.run(ask)
    if met is None:
        raise _refused()
    _pin_archive(met, host, to)


async def _compare(code: str, met: Met) -> bool:
    console = err()
    console.print(
        f"\n    {code}\n\nThe other side calls itself {neutral(met.introduction.name)!r}."
        " Read the code to each other, all three groups."
    )
    return await trio.to_thread.run_sync(
        agreed, "Does the other screen show exactly this code?", abandon_on_cancel=True
    )


def _pin_at_archive(archive: Path, name: str, certificate: PeerCertificate, as_: Ceiling) -> None:
    administer(
        archive,
        "pair",
        name,
        certificate.pem,
        as_.upper(),
        operator(),
        doing="pairing a machine",
    )


def _pin_archive(met: Met, host: str, to: Path) -> None:
    """Write down an archive's key and place, for this machine's own use."""
    name = met.introduction.name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise EstateError(f"the archive calls itself {name!r}, which cannot name a file.")
    where = Address(
        met.introduction.archive_id, host, met.introduction.port, met.certificate.pem, name
    ).to_text()
    file = to / f"{name}.pairing.toml"
    # It came over the wire: what is no address must not become part of a file.
    Address.from_text_untrusted(where, certificate_pem=met.certificate.pem, name=name)
    text = f'address = "{where}"\ncertificate = """\n{met.certificate.pem}"""\n'
    try:
        if not _holds(file, text):  # Said again, it changes nothing.
            with file.open("x", encoding="ascii") as writing:
                writing.write(text)
    except OSError as exc:
        raise EstateError(
            f"the archive {name!r} was met, and {file} could not be written ({exc.strerror})."
            " Move what is there away and pair again."
        ) from exc
    out().print(f"{name} is paired: {shlex.quote(str(file))}\n{where}", soft_wrap=True)


def _check_place(to: Path) -> None:
    if not to.is_dir():
        raise EstateError(
            f"{to} is no directory, and the pairing is to be written there. Make it, or name"
            " another with --to. Nothing was paired."
        )


def _holds(file: Path, text: str) -> bool:
    return file.is_file() and file.read_bytes() == text.encode("ascii")


def _give(line: PairingLine, *, qr: bool, qr_file: Path | None) -> None:
    """Print a line that somebody will carry, and draw it where that was asked for."""
    text = line.to_text()
    out().print(text, soft_wrap=True)
    if qr_file is not None:
        write_qr(text, qr_file)
    if qr:
        show_qr(text)


def _key_of(archive: Path) -> MachineKey:
    return MachineKey.load(archive / "keys" / "machine.key")


def _load_or_make(key: Path) -> MachineKey:
    return MachineKey.load(key) if key.exists() else MachineKey.create(key)


def _refused() -> EstateError:
    return EstateError(
        "one of the two people did not say yes, so nothing was paired. If the codes differed,"
        " somebody stood between the machines: do not try again over this network."
    )


def _host_and_port(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise EstateError(f"{text[:200]!r} is not HOST:PORT; write it like 192.0.2.7:7000.")
    return host.strip("[]"), int(port)


def _seconds(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,3})([smh])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _LISTEN_S_MAX:
        raise EstateError(
            f"{text[:20]!r} is no time to listen for; write it like 90s or 10m, an hour at most."
        )
    return seconds
