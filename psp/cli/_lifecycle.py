"""`psp totebox suspend`, `resume`, `archive`: an administrator changes an archive's state."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from psp.capability import sign_transition
from psp.errors import ArchiveError
from psp.totebox import State, administer, manifest_of
from psp.transport import MachineKey

from ._common import agreed, operator, out
from ._passphrase import Passphrases

_Key = Annotated[Path | None, Parameter(name="--key")]


def suspend(directory: Path, /, *, key: _Key = None, passphrase_fd: int | None = None) -> None:
    """Let an archive answer nobody until it is resumed; health and proofs stay.

    If the archive is being served, this and the next two go through its control socket, and wait
    for a change that is under way.

    Parameters
    ----------
    directory
        The archive.
    key
        A root key of the owner's, or the key of a machine that is paired as ADMIN; by default the
        root key of the estate that the archive lies in.
    passphrase_fd
        Read the key's passphrase from this file descriptor instead of asking.
    """
    _change(directory, State.SUSPENDED, key, passphrase_fd)


def resume(directory: Path, /, *, key: _Key = None, passphrase_fd: int | None = None) -> None:
    """Let a suspended archive answer again.

    Parameters
    ----------
    directory
        The archive.
    key
        As for `suspend`.
    passphrase_fd
        As for `suspend`.
    """
    _change(directory, State.ACTIVE, key, passphrase_fd)


def close(
    directory: Path,
    /,
    *,
    key: _Key = None,
    passphrase_fd: int | None = None,
    yes: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Close an archive for ever: it takes no files and answers nobody; health and proofs stay.

    Parameters
    ----------
    directory
        The archive.
    key
        As for `suspend`.
    passphrase_fd
        As for `suspend`.
    yes
        Do not ask first.
    """
    if not yes and not agreed(f"Close {directory} for ever? No command opens it again."):
        sys.exit(1)
    _change(directory, State.ARCHIVED, key, passphrase_fd)


def _change(directory: Path, after: State, key: Path | None, passphrase_fd: int | None) -> None:
    manifest = manifest_of(directory)
    if manifest.state is after:
        raise ArchiveError(f"the archive {manifest.name!r} is {after.value} already.")
    path = key or directory.resolve().parents[1] / "keys" / "root.key"
    statement = sign_transition(
        MachineKey.load(path, Passphrases(passphrase_fd)),
        archive_id=manifest.archive_id,
        number=manifest.transitions + 1,
        before=manifest.state.value,
        after=after.value,
    )
    done: Any = administer(
        directory, "change_state", statement, operator(), doing=f"making it {after.value}"
    )
    out().print(f"{manifest.name} is {done['state']} by entry {done['entry']}", soft_wrap=True)
