"""A witness: keeps the newest checkpoint it saw of each ledger, and cosigns only what extends it.

One law: what is to be signed is durable before it is signed. A crash in between costs a signature
that is asked for again; the other order could sign two histories of one ledger.

Source: C2SP tlog-witness, of which this is the rule and not the web service.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from psp.errors import CheckpointRejected, ConsistencyProofInvalid, LedgerError

from ._checkpoint import Checkpoint, decode_body_untrusted, encode_body, verify_checkpoint_untrusted
from ._consistency import verify_consistency
from ._cosignature import sign_cosignature, witness_key
from ._files import GROWING, Files
from ._limits import WITNESS_LEDGERS_MAX, WITNESS_STATE_BYTES_MAX
from ._note import Signer, VerifierKey, check_key_name, parse_note_untrusted

SEEN: Final = "seen"
_LOCK: Final = "lock"
_TITLE: Final = "psp witness 1\n"


class Witness:
    """Watches ledgers. Made by `create` and `open`; closed by `close` or a `with` block.

    Attributes:
        key: Its public key, with its name: what others must be told.
    """

    key: VerifierKey

    def __init__(self, files: Files, *, name: str, key: Signer) -> None:
        self.key = witness_key(check_key_name(name), key.public_bytes)
        self._signer = key
        self._files = files
        self._lock = _lock(files)
        # Whether a save failed: what is on the disk is then known only by reading it again.
        self._is_unsure = False
        try:
            data = files.read(SEEN, bytes_max=WITNESS_STATE_BYTES_MAX)
            self._seen = _decode_untrusted(data, files.name(SEEN))
        except BaseException:
            self.close()
            raise

    @classmethod
    def create(cls, directory: Path, *, name: str, key: Signer) -> Self:
        """Make a witness that has seen nothing, in a directory that is empty or not there.

        Raises:
            LedgerError: The directory holds something, or cannot be written.
        """
        check_key_name(name)
        files = Files(directory)
        if found := files.names("."):
            raise LedgerError(
                f"{directory} cannot become a witness's: it holds {found[0]!r}. Open what is there,"
                " or choose an empty directory; a witness that forgets is none."
            )
        files.make_root()
        _save(files, {})
        return cls(files, name=name, key=key)

    @classmethod
    def open(cls, directory: Path, *, name: str, key: Signer) -> Self:
        """Open a witness with all it has seen.

        Raises:
            LedgerError: Its file is missing or damaged, or another process has it open.
        """
        return cls(Files(directory), name=name, key=key)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have it."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def seen(self, origin: str) -> Checkpoint | None:
        """Return the newest checkpoint seen of a ledger, None if it is new here."""
        return self._seen.get(origin)

    def cosign_untrusted(
        self, note: bytes, proof: Sequence[bytes], *, ledger: VerifierKey, time_s: int
    ) -> bytes:
        """Return a signature line for a checkpoint that extends what was seen of its ledger.

        A ledger that is new here is believed: whom to watch is the caller's choice.

        Args:
            note: The signed checkpoint.
            proof: From the size that `seen` gives to that of the checkpoint; empty for a new one.
            ledger: The ledger's key, with its origin.
            time_s: Now, in seconds since 1970.

        Raises:
            CheckpointRejected: The checkpoint is malformed or not signed by the ledger's key.
            ConsistencyProofInvalid: It does not extend what was seen. The history was rewritten, or
                this is another copy with entries of its own.
            LedgerError: What was seen could not be saved; nothing was signed.
        """
        if self._lock < 0 or self._is_unsure:
            raise LedgerError(f"{self.key.name} signs nothing: it was closed, or a save failed.")
        new = verify_checkpoint_untrusted(note, origin=ledger.name, public_key=ledger.public_key)
        if (old := self._seen.get(new.origin)) is not None:
            _check_extends(old, new, proof)
        if old != new:
            self._remember(new)
        text = parse_note_untrusted(note).text
        return sign_cosignature(text, name=self.key.name, key=self._signer, time_s=time_s)

    def _remember(self, checkpoint: Checkpoint) -> None:
        seen = {**self._seen, checkpoint.origin: checkpoint}
        if len(seen) > WITNESS_LEDGERS_MAX:
            raise LedgerError(
                f"{self.key.name} watches {WITNESS_LEDGERS_MAX:,} ledgers and no more. Begin"
                " another witness."
            )
        self._is_unsure = True
        _save(self._files, seen)
        self._is_unsure = False
        self._seen = seen


def _check_extends(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    try:
        verify_consistency(old, new, proof)
    except ConsistencyProofInvalid as exc:
        raise ConsistencyProofInvalid(
            f"{new.origin} with {new.tree_size} entries was not cosigned: it does not extend the"
            f" {old.tree_size} entries seen before ({exc}). Keep both checkpoints: signed by one"
            " key, they show that its owner tells two stories."
        ) from exc


def _lock(files: Files) -> int:
    """Take the lock; two witnesses on one file could each sign a view of their own."""
    path = files.directory / _LOCK
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, GROWING)
    except OSError as exc:
        raise LedgerError(
            f"{files.directory} is no witness's directory ({exc.strerror}). Check the path, or"
            " create one."
        ) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise LedgerError(
            f"{files.directory} is in use by another witness process. Wait for it to end."
        ) from None
    return descriptor


def _save(files: Files, seen: Mapping[str, Checkpoint]) -> None:
    body = "".join(encode_body(seen[origin]) for origin in sorted(seen))
    data = (_TITLE + body).encode()
    # The checksum finds accidents: a digit that rotted would else raise a false alarm, or allow a
    # rewritten end.
    files.write_temporary(data + sha256(data).hexdigest().encode() + b"\n", mode=GROWING)
    files.sync_temporary()
    files.rename_temporary(SEEN)
    files.sync_directory(".")


def _decode_untrusted(data: bytes, name: str) -> dict[str, Checkpoint]:
    body, checksum = data[:-65], data[-65:]
    lines = body.decode("utf-8", "replace").split("\n")
    whole = checksum == sha256(body).hexdigest().encode() + b"\n"
    if not whole or lines[0] + "\n" != _TITLE or len(lines) % 3 != 2:
        raise LedgerError(
            f"{name} is damaged. Restore its newest copy, and know that the witness may since have"
            " signed more than the copy says; nothing was changed."
        )
    try:
        found = [
            decode_body_untrusted("".join(f"{line}\n" for line in lines[i : i + 3]))
            for i in range(1, len(lines) - 1, 3)
        ]
    except CheckpointRejected as exc:
        raise LedgerError(f"{name} is damaged: {exc}. Restore its newest copy.") from exc
    return {checkpoint.origin: checkpoint for checkpoint in found}
