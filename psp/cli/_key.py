"""`psp key new`, `show`, `certificate` and `passphrase`: one key in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from psp.capability import fingerprint, spki_hash_of
from psp.transport import MachineKey, describe_key_file

from ._common import out, print_json
from ._passphrase import Passphrases


def new(
    path: Path,
    /,
    *,
    plain: Annotated[bool, Parameter(negative=())] = False,
    passphrase_fd: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Make a key in a file of its own, sealed with a passphrase.

    Parameters
    ----------
    path
        The file; nothing may be there yet.
    plain
        No passphrase: for machines that start by themselves. Whoever can read the file has the key.
    passphrase_fd
        Read the passphrase from this file descriptor instead of asking.
    json
        Print one JSON object.
    """
    passphrase = None if plain else Passphrases(passphrase_fd).choose()
    MachineKey.create(path, passphrase)
    _say(path, json=json)


def show(path: Path, /, *, json: Annotated[bool, Parameter(negative=())] = False) -> None:
    """Say whose key a file holds and how it is sealed; never the key. No passphrase is asked.

    Parameters
    ----------
    path
        The key file.
    json
        Print one JSON object.
    """
    _say(path, json=json)


def certificate(path: Path, /, *, passphrase_fd: int | None = None) -> None:
    """Print the certificate of a machine key, in PEM: what another machine is paired with.

    Parameters
    ----------
    path
        The key file.
    passphrase_fd
        Read the passphrase from this file descriptor instead of asking.
    """
    key = MachineKey.load(path, Passphrases(passphrase_fd))
    out().print(key.certificate_pem, end="", soft_wrap=True)


def passphrase(
    path: Path,
    /,
    *more: Path,
    remove: Annotated[bool, Parameter(negative=())] = False,
    passphrase_fd: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Seal key files with a new passphrase, or take the seal off. All of them had the same one.

    What was on the disk before may still be read from it: if others may have had the file, or the
    old passphrase, make a new key instead.

    Parameters
    ----------
    path
        A key file.
    more
        Further ones, which get the same passphrase.
    remove
        Take the seal off: whoever can read the file then has the key.
    passphrase_fd
        Read from this file descriptor instead of asking: a line with the old passphrase, if there
        is one, then a line with the new one.
    json
        Print one JSON object for each file.
    """
    source = Passphrases(passphrase_fd)
    # All are opened before one is written: a wrong passphrase changes nothing.
    keys = {file: MachineKey.load(file, source) for file in (path, *more)}
    chosen = None if remove else source.choose()
    for file, key in keys.items():
        key.write_again(file, chosen)
        _say(file, json=json)


def _say(path: Path, *, json: bool) -> None:
    public, sealed = describe_key_file(path)
    facts = {
        "file": str(path),
        "fingerprint": fingerprint(spki_hash_of(public)),
        "public_key": public.hex(),
        "sealed": sealed,
    }
    if json:
        print_json(facts)
        return
    for name, value in facts.items():
        out().print(f"{name.replace('_', ' '):<12} {value}", soft_wrap=True)
