from __future__ import annotations

import os
from pathlib import Path

import pytest

from psp.errors import KeyFileError
from psp.transport import MachineKey, check_certificate_untrusted


def test_a_key_file_is_private_and_gives_the_same_machine_again(tmp_path: Path) -> None:
    made = MachineKey.create(tmp_path / "machine.key")
    loaded = MachineKey.load(tmp_path / "machine.key")

    assert (tmp_path / "machine.key").stat().st_mode & 0o777 == 0o600
    assert loaded.spki_hash == made.spki_hash
    assert loaded.certificate_pem == made.certificate_pem
    assert list(tmp_path.iterdir()) == [tmp_path / "machine.key"]


def test_the_key_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        MachineKey.create(tmp_path / "machine.key")
    finally:
        os.umask(before)

    assert (tmp_path / "machine.key").stat().st_mode & 0o777 == 0o600


def test_a_new_key_never_replaces_an_old_one(tmp_path: Path) -> None:
    old = MachineKey.create(tmp_path / "machine.key")

    with pytest.raises(KeyFileError, match="pairings made with it would be lost"):
        MachineKey.create(tmp_path / "machine.key")

    assert MachineKey.load(tmp_path / "machine.key").spki_hash == old.spki_hash
    assert list(tmp_path.iterdir()) == [tmp_path / "machine.key"]


def test_a_link_planted_at_the_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "machine.key").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(KeyFileError, match="a file already is"):
        MachineKey.create(tmp_path / "machine.key")

    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o601])
def test_a_key_that_others_can_read_is_refused_with_the_command_that_helps(
    tmp_path: Path, mode: int
) -> None:
    MachineKey.create(tmp_path / "machine.key")
    (tmp_path / "machine.key").chmod(mode)

    with pytest.raises(KeyFileError, match="chmod 600"):
        MachineKey.load(tmp_path / "machine.key")


@pytest.mark.parametrize("content", [b"", b"not a key", b"x" * 5000, b"\xff" * 40])
def test_a_damaged_key_file_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "machine.key"
    path.write_bytes(content)
    path.chmod(0o600)

    with pytest.raises(KeyFileError, match="does not hold one Ed25519 private key") as caught:
        MachineKey.load(path)

    assert caught.value.__cause__ is None


def test_a_missing_key_and_a_directory_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file"):
        MachineKey.load(tmp_path / "machine.key")
    with pytest.raises(KeyFileError, match=r"Is a directory|is not a file"):
        MachineKey.load(tmp_path)
    with pytest.raises(KeyFileError, match="cannot be written"):
        MachineKey.create(tmp_path / "nowhere" / "machine.key")


def test_a_key_shows_its_fingerprint_and_never_itself(tmp_path: Path) -> None:
    key = MachineKey.create(tmp_path / "machine.key")

    assert repr(key) == f"MachineKey({key.fingerprint})"
    assert len(key.fingerprint) == len("SHA256:") + 43


def test_a_key_signs_for_itself(tmp_path: Path) -> None:
    key = MachineKey.create(tmp_path / "machine.key")

    key.private.public_key().verify(key.sign(b"data"), b"data")
    assert check_certificate_untrusted(key.certificate_pem).public_bytes == key.public_bytes
