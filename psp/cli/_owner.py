"""What an owner says to an archive, with the root keys: revoke, epoch, clock, reassert, rotate."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from psp.capability import (
    TIME_S_MAX,
    Anchor,
    Revokes,
    Seen,
    decode_chain_untrusted,
    rotations_in_untrusted,
    sign_anchor,
    sign_clock,
    sign_epoch,
    sign_reassertion,
    sign_revocation,
    sign_rotation,
    token_from_text_untrusted,
)
from psp.errors import ArchiveError, EstateError
from psp.totebox import administer, manifest_of, read_at_rest
from psp.transport import MachineKey, describe_key_file

from ._common import out
from ._passphrase import Passphrases

epoch = App(name="epoch", help="End every grant of an archive at once.")

_Key = Annotated[Path | None, Parameter(name="--root-key")]
_Keys = Annotated["list[Path] | None", Parameter(name="--root-key", negative=())]
_Files = Annotated["list[Path] | None", Parameter(consume_multiple=True, negative=())]
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


def clock(
    directory: Path,
    /,
    *,
    to: str = "",
    root_key: _Keys = None,
    passphrase_fd: int | None = None,
) -> None:
    """Set back the latest time that an archive remembers, after its clock had run ahead.

    Parameters
    ----------
    directory
        The archive.
    to
        That time, as 2026-11-22T10:00Z; by default now, by this machine's clock.
    root_key
        A root key of the owner; name one after the other until the threshold is met. By default the
        one of the estate that the archive lies in.
    passphrase_fd
        Read the keys' passphrase from this file descriptor instead of asking.
    """
    time_s = _time_s(to) if to else int(time.time())
    keys = _root_keys(directory, root_key, Passphrases(passphrase_fd))
    box = read_at_rest(directory)
    statement = sign_clock(
        keys,
        archive_id=box.manifest.archive_id,
        number=box.said.clock_number + 1,
        time_s=time_s,
    )
    place = _say(directory, "clock", statement, doing="setting its clock back")
    when = datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    out().print(f"the latest time that counts is {when} by entry {place}", soft_wrap=True)


def reassert(
    directory: Path,
    /,
    *,
    keep_epoch: Annotated[bool, Parameter(negative=())] = False,
    root_key: _Keys = None,
    passphrase_fd: int | None = None,
) -> None:
    """Take an archive as it is after a rollback or a fork: it accepts grants again.

    Look at it first: psp totebox audit. A new epoch begins, since what was revoked in the part that
    is lost would come back.

    Parameters
    ----------
    directory
        The archive.
    keep_epoch
        Begin no new epoch: grants that live go on, those that were revoked in what is lost too.
    root_key
        A root key of the owner; name one after the other until the threshold is met. By default the
        one of the estate that the archive lies in.
    passphrase_fd
        Read the keys' passphrase from this file descriptor instead of asking.
    """
    keys = _root_keys(directory, root_key, Passphrases(passphrase_fd))
    box = read_at_rest(directory)
    seen, epoch = box.ledger.checkpoint, box.epoch if keep_epoch else box.epoch + 1
    statement = sign_reassertion(
        keys,
        archive_id=box.manifest.archive_id,
        number=box.said.reassertion_number + 1,
        audit=Seen(seen.tree_size, seen.root_hash),
        epoch=epoch,
    )
    place = _say(directory, "reasserted", statement, doing="being reasserted")
    out().print(
        f"taken as it is at {seen.tree_size} entries, in epoch {epoch}, by entry {place}",
        soft_wrap=True,
    )


def rotate(
    directory: Path,
    /,
    *,
    root: _Files = None,
    threshold: int | None = None,
    anchor: _Files = None,
    root_key: _Keys = None,
    passphrase_fd: int | None = None,
) -> None:
    """Put other root keys, or other anchor keys, in the place of those that an archive believes.

    What an anchor key that is not named any more has signed is over at once.

    Parameters
    ----------
    directory
        The archive.
    root
        The files of the new root keys, all of them; as many as the new threshold must sign.
    threshold
        How many of the new root keys must sign from then on; to be said where there are several.
    anchor
        The files of the new anchor keys, all of them; their passphrases are not needed.
    root_key
        A root key of the owner; name one after the other until the threshold is met. By default the
        one of the estate that the archive lies in.
    passphrase_fd
        Read the keys' passphrase from this file descriptor instead of asking.
    """
    if not root and not anchor:
        raise ArchiveError("what is to be replaced? Name the new keys: --root or --anchor.")
    if root and len(root) > 1 and threshold is None:
        raise ArchiveError(f"how many of the {len(root)} root keys must sign? Say --threshold.")
    source, box = Passphrases(passphrase_fd), read_at_rest(directory)
    keys, now = _root_keys(directory, root_key, source), box.anchor
    rotations = rotations_in_untrusted(box.anchor_statement)
    if root:
        new = [MachineKey.load(file, source) for file in root]
        rotations = (*rotations, _rotation(keys, new, now, threshold or 1))
        keys = new
    statement = sign_anchor(
        keys,
        anchor_keys=[describe_key_file(it)[0] for it in anchor] if anchor else now.anchor_keys,
        ledger_key=now.ledger_key,
        epoch=box.epoch,
        version=now.version + 1,
        nonce=now.nonce,
        founders=now.root_sets[0],
        rotations=rotations,
    )
    place = _say(directory, "anchored", statement, doing="changing its keys")
    changed = " and ".join([*(["root keys"] if root else []), *(["anchor keys"] if anchor else [])])
    out().print(
        f"other {changed} are in force by entry {place}; put their files where the old ones lie",
        soft_wrap=True,
    )


def _rotation(old: list[MachineKey], new: list[MachineKey], now: Anchor, threshold: int) -> bytes:
    signers = {it.public_bytes: it for it in (*old, *new)}  # A key of both signs once.
    return sign_rotation(
        [*signers.values()],
        archive_id=now.archive_id,
        old=now.roots,
        keys=[it.public_bytes for it in new],
        threshold=threshold,
    )


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


def _time_s(text: str) -> int:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise EstateError(f"--to {text[:40]!r} is no time; write 2026-11-22T10:00Z") from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def _root_key(directory: Path, given: Path | None, passphrase_fd: int | None) -> MachineKey:
    (key,) = _root_keys(directory, [given] if given else None, Passphrases(passphrase_fd))
    return key


def _root_keys(directory: Path, given: list[Path] | None, source: Passphrases) -> list[MachineKey]:
    files = given or [directory.resolve().parents[1] / "keys" / "root.key"]
    return [MachineKey.load(file, source) for file in files]
