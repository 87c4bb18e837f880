"""`psp grant revoke` and `psp epoch bump`: the owner takes back what was granted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from psp.capability import (
    TIME_S_MAX,
    Revokes,
    decode_chain_untrusted,
    sign_epoch,
    sign_revocation,
    token_from_text_untrusted,
)
from psp.errors import ArchiveError, EstateError
from psp.totebox import administer, manifest_of, read_at_rest
from psp.transport import MachineKey

from ._common import out
from ._passphrase import Passphrases

epoch = App(name="epoch", help="End every grant of an archive at once.")

_Key = Annotated[Path | None, Parameter(name="--root-key")]
_BYTES = 32


@epoch.command
def bump(directory: Path, /, *, root_key: _Key = None, passphrase_fd: int | None = None) -> None:
    """Begin the next epoch of an archive: every grant there is ends, and none comes back.

    If the archive is being served, this goes through its control socket and counts at once.

    Parameters
    ----------
    directory
        The archive.
    root_key
        One of the owner's root keys; by default the one of the estate that the archive lies in.
    passphrase_fd
        Read the key's passphrase from this file descriptor instead of asking.
    """
    key = _root_key(directory, root_key, passphrase_fd)
    box = read_at_rest(directory)
    following = box.epoch + 1
    statement = sign_epoch(key, archive_id=box.manifest.archive_id, epoch=following)
    place = _say(directory, "epoch", statement, doing="beginning an epoch")
    out().print(
        f"epoch {following} has begun by entry {place}; every earlier grant is over", soft_wrap=True
    )


def revoke(
    directory: Path,
    /,
    token: Path | None = None,
    *,
    id: str | None = None,
    key: str | None = None,
    link: int = -1,
    root_key: _Key = None,
    passphrase_fd: int | None = None,
) -> None:
    """Take a grant back with everything narrowed from it, or everything that a key holds or signed.

    If the archive is being served, this goes through its control socket: open connections stop at
    their next command, and before the next chunk of a stream.

    Parameters
    ----------
    directory
        The archive.
    token
        The file of a token, in its text form.
    id
        A grant id in hexadecimal, instead of a token: it stays revoked for good.
    key
        A public key in hexadecimal, of an issuer or a holder: it stays revoked for good.
    link
        Which link of the token: 0 takes back all that the archive's anchor key gave with it. By
        default the last.
    root_key
        One of the owner's root keys; by default the one of the estate that the archive lies in.
    passphrase_fd
        Read the key's passphrase from this file descriptor instead of asking.
    """
    if [token, id, key].count(None) != 2:
        raise ArchiveError("what is to be revoked? Name one: a token's file, --id or --key.")
    what, until_s = Revokes.KEY if key is not None else Revokes.GRANT, TIME_S_MAX
    if token is not None:
        target, until_s = _link_of(token, link)
    else:
        target = _hexadecimal(id or key or "")
    signer = _root_key(directory, root_key, passphrase_fd)
    archive_id = manifest_of(directory).archive_id
    statement = sign_revocation(
        signer, archive_id=archive_id, what=what, target=target, until_s=until_s
    )
    place = _say(directory, "revoked", statement, doing="revoking a grant")
    out().print(f"{what.name.lower()} {target.hex()} is revoked by entry {place}", soft_wrap=True)


def _say(directory: Path, kind: str, statement: bytes, *, doing: str) -> int:
    done: Any = administer(directory, "hear", kind, statement, doing=doing)
    place: int = done["entry"]
    return place


def _link_of(file: Path, link: int) -> tuple[bytes, int]:
    try:
        text = file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise EstateError(f"{file} cannot be read ({exc}). Name the file of a token.") from exc
    chain = decode_chain_untrusted(token_from_text_untrusted(text))
    if not -1 <= link < len(chain.links):
        raise ArchiveError(
            f"--link {link} of {len(chain.links)}. Name 0 to {len(chain.links) - 1}."
        )
    if (until_s := chain.links[link].not_after_s) <= time.time():
        raise ArchiveError(f"the grant ended at {until_s}, so there is nothing to revoke.")
    return chain.ids()[link], until_s


def _hexadecimal(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != _BYTES:
        raise ArchiveError(f"{text[:80]!r} is not {_BYTES} bytes in hexadecimal. Check it.")
    return found


def _root_key(directory: Path, given: Path | None, passphrase_fd: int | None) -> MachineKey:
    path = given or directory.resolve().parents[1] / "keys" / "root.key"
    return MachineKey.load(path, Passphrases(passphrase_fd))
