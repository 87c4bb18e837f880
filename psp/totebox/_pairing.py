"""Pairings: which machines may connect, and the most that any grant can give each of them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psp.errors import ArchiveError, EstateError
from psp.transport import Pin, check_certificate_untrusted

CEILING_NAMES: Final = ("INTERFACE", "USER", "INPUT", "ADMIN")

_PEER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Pairing:
    """A machine that may connect, and its ceiling."""

    pin: Pin
    ceiling: str


def check_pairing(name: str, certificate_pem: str, ceiling: str) -> Pairing:
    """Look at what a person wants to pair.

    Raises:
        ArchiveError: The name or the pairing type does not exist.
        EstateError: The certificate does not pass the checks of pairing.
    """
    check_peer_name(name)
    if ceiling not in CEILING_NAMES:
        raise ArchiveError(
            f"the pairing type {ceiling[:64]!r} does not exist;"
            f" choose one of {', '.join(CEILING_NAMES)}."
        )
    return Pairing(Pin(name, check_certificate_untrusted(certificate_pem)), ceiling)


def check_unambiguous(new: Pairing, known: Sequence[Pairing]) -> None:
    """Let a name mean one key, and a key have one name: else a removal would remove half.

    Raises:
        ArchiveError: The name has another key already, or the key another name.
    """
    for one in known:
        has_name = one.pin.name == new.pin.name
        if has_name != (one.pin.certificate.spki_hash == new.pin.certificate.spki_hash):
            found = f"{one.pin.name!r} is paired with the key {one.pin.certificate.fingerprint}"
            raise ArchiveError(
                f"{new.pin.name!r} was to be paired with the key {new.pin.certificate.fingerprint},"
                f" and {found}. Remove that pairing first (psp pair remove), or choose"
                f" {'another name' if has_name else 'that name'}."
            )


def check_peer_name(name: str) -> None:
    """Look at a name that becomes a file's.

    Raises:
        ArchiveError: It cannot.
    """
    if not _PEER_NAME.fullmatch(name):
        raise ArchiveError(
            f"{name[:64]!r} cannot name a peer; use up to 64 letters, digits, dots and dashes."
        )


def peer_file(archive: Path, name: str) -> Path:
    return archive / "keys" / "peers" / f"{name}.toml"


def write_pairing(pairing: Pairing) -> bytes:
    """Give the content of a pairing's file. PEM holds nothing that TOML would need escaped."""
    pem = pairing.pin.certificate.pem
    return f'ceiling = "{pairing.ceiling}"\ncertificate = """\n{pem}"""\n'.encode()


def read_pairings(archive: Path) -> list[Pairing]:
    """Read every pairing of an archive. A removed file is a machine that may not connect.

    Raises:
        ArchiveError: A pairing's file is damaged; the message names it.
    """
    found = sorted((archive / "keys" / "peers").glob("[!.]*.toml"))
    return [read_pairing(path, path.stem) for path in found]


def read_pairing(path: Path, name: str) -> Pairing:
    """Read one pairing from its file.

    Raises:
        ArchiveError: It is damaged; the message names it.
    """
    try:
        document = tomllib.loads(path.read_text("ascii"))
        return check_pairing(name, document["certificate"], document["ceiling"])
    except (OSError, ValueError, KeyError, TypeError, ArchiveError, EstateError) as exc:
        raise ArchiveError(
            f"the pairing {path} cannot be read ({exc}). Pair that machine again, or remove the"
            " file to keep it out."
        ) from exc
