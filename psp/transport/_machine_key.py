"""The machine key: one file, one Ed25519 key, and everything that follows from it.

The file is PEM, or sealed with a passphrase (see `_sealed_key`). Machines that start by themselves
have the first; for keys of people there is the second.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from psp.capability import fingerprint, spki_hash_of
from psp.durable import sync_directory
from psp.errors import KeyFileError

from ._certificate import make_certificate
from ._limits import KEY_FILE_BYTES_MAX
from ._sealed_key import (
    Passphrase,
    is_sealed,
    open_key_untrusted,
    seal_key,
    sealed_facts_untrusted,
)

PassphraseSource: TypeAlias = Callable[[Path], Passphrase]
"""Asked for the passphrase of a key file, and only if it has one."""


class MachineKey:
    """The key by which this machine is known to the machines it is paired with.

    Attributes:
        private: Never printed: the repr shows the fingerprint.
        public_bytes: 32 bytes.
        spki_hash: 32 bytes; what the other side's pairing record pins.
        certificate_pem: The one certificate of this key, the same on every call.
    """

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.private = private
        self.public_bytes = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.spki_hash = spki_hash_of(self.public_bytes)
        self.certificate_pem = make_certificate(private)

    @classmethod
    def create(cls, path: Path, passphrase: Passphrase | None = None) -> MachineKey:
        """Make a new key and its file, which nobody but this user can read.

        Args:
            passphrase: Seals the file; without one, whoever can read it has the key.

        Raises:
            KeyFileError: The file exists, or cannot be written. Nothing was changed.
        """
        key = cls(Ed25519PrivateKey.generate())
        try:
            _write_once(path, key._to_file(passphrase))
        except FileExistsError:
            raise KeyFileError(
                f"a new machine key was asked for at {path}, where a file already is."
                " Load that one, or move it away first: pairings made with it would be lost."
            ) from None
        except OSError as exc:
            raise KeyFileError(
                f"the machine key {path} cannot be written ({exc.strerror})."
                " Make the directory writable for this user, or choose another."
            ) from exc
        return key

    @classmethod
    def load(cls, path: Path, passphrase: PassphraseSource | None = None) -> MachineKey:
        """Read a key from its file.

        Args:
            passphrase: Asked if the file is sealed.

        Raises:
            KeyFileError: Missing, damaged, not this user's, readable by others, or sealed with
                another passphrase.
        """
        data = _read_key_file(path)
        if is_sealed(data):
            return cls(_open_sealed(data, path, passphrase))
        try:
            private = load_pem_private_key(data, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            # The cause is left out: a parser's message may quote what it could not parse.
            raise _damaged(path) from None
        if not isinstance(private, Ed25519PrivateKey):
            raise _damaged(path)
        return cls(private)

    def write_again(self, path: Path, passphrase: Passphrase | None) -> None:
        """Write this key over its own file, sealed with another passphrase or with none.

        Readers see the old file or the new one. What was on the disk before may still be there:
        a key that others may have read must be replaced, not sealed.

        Raises:
            KeyFileError: The file cannot be written.
        """
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            _write_once(draft, self._to_file(passphrase))
            draft.replace(path)
            sync_directory(path.parent)
        except OSError as exc:
            draft.unlink(missing_ok=True)
            raise KeyFileError(
                f"the key {path} cannot be written ({exc.strerror}). It is as it was."
            ) from exc

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.spki_hash)

    def sign(self, data: bytes) -> bytes:
        """Sign as this machine: 64 bytes. The caller separates domains, as psp.capability does."""
        return self.private.sign(data)

    def private_pem(self) -> bytes:
        """The key itself, for the TLS library alone. Never write it anywhere."""
        return self._to_pem()

    def _to_file(self, passphrase: Passphrase | None) -> bytes:
        return self._to_pem() if passphrase is None else seal_key(self.private, passphrase)

    def __repr__(self) -> str:
        return f"MachineKey({self.fingerprint})"

    def _to_pem(self) -> bytes:
        return self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def is_sealed_file(path: Path) -> bool:
    """Whether a key file needs a passphrase.

    Raises:
        KeyFileError: Missing, not this user's, or readable by others.
    """
    return is_sealed(_read_key_file(path))


def describe_key_file(path: Path) -> tuple[bytes, str]:
    """Give a key file's public key, and how it is sealed in words; no passphrase is needed.

    Of a sealed key it is what the file says, which is only proven when it is opened.

    Raises:
        KeyFileError: As for `MachineKey.load`.
    """
    data = _read_key_file(path)
    if not is_sealed(data):
        return MachineKey.load(path).public_bytes, "not sealed"
    try:
        return sealed_facts_untrusted(data)
    except ValueError:
        raise _damaged(path) from None


def _open_sealed(data: bytes, path: Path, passphrase: PassphraseSource | None) -> Ed25519PrivateKey:
    if passphrase is None:
        raise KeyFileError(
            f"the key {path} is sealed, and whoever wants to use it here cannot ask for its"
            " passphrase. Take the seal off with `psp key passphrase --remove`, or use another key."
        )
    try:
        private = open_key_untrusted(data, passphrase(path))
    except ValueError:
        raise _damaged(path) from None
    if private is None:
        raise KeyFileError(f"this is not the passphrase of the key {path}. Try again.")
    return private


def _read_key_file(path: Path) -> bytes:
    try:
        return _read_private(path)
    except OSError as exc:
        raise KeyFileError(
            f"the machine key {path} cannot be read ({exc.strerror})."
            " Check the path, or make a key with `psp key new`."
        ) from exc


def _write_once(path: Path, data: bytes) -> None:
    """Let a file appear whole, private and never over another one."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # O_EXCL and the mode in the same call: a file that is chmod-ed afterwards was open to others
    # for a moment, and a link planted at this name is refused instead of followed.
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # Not rename: rename would replace an older key without a word. link fails if it is there.
        os.link(draft, path)
    finally:
        draft.unlink()
    sync_directory(path.parent)


def _read_private(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        # Ask the open file, not the path: the path may name another file a moment later.
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"the machine key {path} is not a file. Name the key file itself.")
        if status.st_mode & 0o077:
            raise KeyFileError(
                f"the machine key {path} has mode {stat.S_IMODE(status.st_mode):04o}, so others"
                f" can read it. Run `chmod 600 {path}`; if others use this machine, make a new key."
            )
        if status.st_uid not in (os.geteuid(), 0):
            raise KeyFileError(
                f"the machine key {path} belongs to user {status.st_uid}, and this is user"
                f" {os.geteuid()}. Run as its owner, or make a key of your own."
            )
        data = file.read(KEY_FILE_BYTES_MAX + 1)
    if len(data) > KEY_FILE_BYTES_MAX:
        raise _damaged(path)
    return data


def _damaged(path: Path) -> KeyFileError:
    return KeyFileError(
        f"the file {path} does not hold one Ed25519 private key, in PEM or sealed."
        " Restore it from a backup, or make a new key and pair again."
    )
