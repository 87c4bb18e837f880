"""Key files with a passphrase: what opens them, what is never printed, what a file may ask for."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.errors import KeyFileError
from psp.transport import MachineKey, Passphrase, _machine_key, _sealed_key, describe_key_file
from psp.transport._limits import SCRYPT_N_MIN

WORDS = Passphrase("correct horse battery staple")
SEED = bytes(range(32))
KEY = Ed25519PrivateKey.from_private_bytes(SEED)


@pytest.fixture(autouse=True)
def cheap_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that a file may say; the default costs half a second each time."""
    monkeypatch.setattr(_sealed_key, "SCRYPT_N_DEFAULT", SCRYPT_N_MIN)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    MachineKey.create(tmp_path / "root.key", WORDS)
    return tmp_path / "root.key"


def told(passphrase: str | Passphrase) -> Callable[[Path], Passphrase]:
    given = passphrase if isinstance(passphrase, Passphrase) else Passphrase(passphrase)
    return lambda path: given


def changed(path: Path, **changes: Any) -> None:
    header = {**json.loads(path.read_bytes()), **changes}
    text = json.dumps(header, sort_keys=True, separators=(",", ":")) + "\n"
    path.write_text(text)


def test_the_same_passphrase_opens_it_and_the_file_is_private(path: Path) -> None:
    key = MachineKey.load(path, told(WORDS))

    assert path.stat().st_mode & 0o777 == 0o600
    assert key.public_bytes == describe_key_file(path)[0]
    assert MachineKey.load(path, told(WORDS)).sign(b"x") == key.sign(b"x")
    assert list(path.parent.iterdir()) == [path]


def test_a_wrong_passphrase_is_one_clear_sentence(path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"^this is not the passphrase of the key .*root\.key\."):
        MachineKey.load(path, told("correct horse battery stable"))


def test_without_anybody_to_ask_it_stays_shut_and_names_the_remedy(path: Path) -> None:
    with pytest.raises(KeyFileError, match="`psp key passphrase --remove`"):
        MachineKey.load(path)


def test_nobody_is_asked_for_a_key_without_a_seal(tmp_path: Path) -> None:
    made = MachineKey.create(tmp_path / "machine.key")
    loaded = MachineKey.load(tmp_path / "machine.key", lambda path: pytest.fail("was asked"))

    assert loaded.public_bytes == made.public_bytes
    assert describe_key_file(tmp_path / "machine.key") == (made.public_bytes, "not sealed")


def test_accents_typed_in_two_ways_are_one_passphrase(tmp_path: Path) -> None:
    MachineKey.create(tmp_path / "key", Passphrase("caf\u00e9"))
    assert MachineKey.load(tmp_path / "key", told("cafe\u0301"))


@pytest.mark.parametrize("text", ["", "x" * 1025])
def test_a_passphrase_has_a_length(text: str) -> None:
    with pytest.raises(KeyFileError, match=f"this one has {len(text)}"):
        Passphrase(text)


def test_a_passphrase_compares_with_nothing_but_a_passphrase() -> None:
    assert Passphrase("a") == Passphrase("a")
    assert Passphrase("a") != Passphrase("b")
    assert Passphrase("a") != "a"


def test_every_part_is_authenticated(path: Path) -> None:
    """None may be exchanged: not the cost, which would make guessing cheap, not the public key."""
    whole = json.loads(path.read_bytes())
    other = json.loads(_sealed_key.seal_key(Ed25519PrivateKey.generate(), WORDS))
    for name in ("salt", "nonce", "public_key", "sealed"):
        changed(path, **{name: other[name]})
        with pytest.raises(KeyFileError, match="not the passphrase"):
            MachineKey.load(path, told(WORDS))
        changed(path, **whole)
    changed(path, n=2**15)
    with pytest.raises(KeyFileError, match="not the passphrase"):
        MachineKey.load(path, told(WORDS))


def test_a_seed_sealed_under_another_public_key_is_damaged(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever knows the passphrase must not be able to make a file that shows a false name."""
    other = Ed25519PrivateKey.generate().public_key()

    class Liar:
        def public_key(self) -> object:
            return other

        def private_bytes_raw(self) -> bytes:
            return SEED

    path.write_bytes(_sealed_key.seal_key(Liar(), WORDS))  # type: ignore[arg-type]
    with pytest.raises(KeyFileError, match="does not hold one"):
        MachineKey.load(path, told(WORDS))


@pytest.mark.parametrize(
    "changes",
    [
        {"n": 2**13},
        {"n": 2**17 + 1},
        {"n": 2**21},
        {"n": 2**62},
        {"n": 0},
        {"n": -(2**17)},
        {"n": True},
        {"n": "131072"},
        {"n": 131072.0},
        {"r": 16},
        {"r": 2**30},
        {"p": 0},
        {"p": 5},
        {"p": 2**40},
        {"kdf": "none"},
        {"kdf": "argon2id"},
        {"cipher": "null"},
        {"format": "psp-key-2"},
        {"salt": ""},
        {"salt": 7},
        {"salt": "AAAA"},
        {"nonce": "not base64, not at all"},
        {"sealed": base64.b64encode(bytes(47)).decode()},
        {"public_key": base64.b64encode(bytes(33)).decode()},
        {"more": 1},
    ],
    ids=str,
)
def test_what_a_file_asks_for_is_bounded_before_it_is_used(
    path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sealed_key, "Scrypt", lambda **how: pytest.fail(f"was derived: {how}"))
    changed(path, **changes)
    with pytest.raises(KeyFileError, match="does not hold one"):
        MachineKey.load(path, told(WORDS))
    with pytest.raises(KeyFileError, match="does not hold one"):
        describe_key_file(path)


@pytest.mark.parametrize(
    "data", [b"{", b"{}", b"{" * 4000, b'{"n":1}\n', b"{\xff}", b'{"n":NaN}', bytes(5000)]
)
def test_other_bytes_are_damaged_and_not_an_exception_of_ours(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(KeyFileError, match="does not hold one"):
        MachineKey.load(path, told(WORDS))


def test_there_is_one_form(path: Path) -> None:
    for data in (b" " + path.read_bytes(), path.read_bytes() + b"\n", path.read_bytes()[:-1]):
        path.write_bytes(data)
        with pytest.raises(KeyFileError, match="does not hold one"):
            MachineKey.load(path, told(WORDS))
        changed(path, **json.loads(data))


def test_a_sealed_key_that_others_can_read_is_refused_too(path: Path) -> None:
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        MachineKey.load(path, told(WORDS))


def test_a_key_is_sealed_anew_and_unsealed_without_changing(path: Path) -> None:
    key, other = MachineKey.load(path, told(WORDS)), Passphrase("another")
    key.write_again(path, other)
    assert MachineKey.load(path, told(other)).public_bytes == key.public_bytes
    with pytest.raises(KeyFileError, match="not the passphrase"):
        MachineKey.load(path, told(WORDS))
    key.write_again(path, None)
    assert MachineKey.load(path).public_bytes == key.public_bytes
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_key_that_cannot_be_written_again_is_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()
    key = MachineKey.load(path, told(WORDS))

    def full(draft: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_machine_key, "_write_once", full)
    with pytest.raises(KeyFileError, match="No space left"):
        key.write_again(path, None)
    assert path.read_bytes() == before


def shown(exc: BaseException) -> str:
    """Everything that a debugger's report has: each frame with the repr of its locals."""
    return "".join(traceback.TracebackException.from_exception(exc, capture_locals=True).format())


def forms(secret: bytes) -> list[str]:
    """How a secret could look in a text."""
    return [secret.hex(), repr(secret)[2:-1], base64.b64encode(secret).decode(), str(list(secret))]


@pytest.mark.parametrize("given", [told("wrong horse"), None, "another key's"])
def test_neither_seed_nor_passphrase_is_in_any_repr_or_traceback(
    tmp_path: Path,
    given: Callable[[Path], Passphrase] | str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, key = tmp_path / "root.key", MachineKey(KEY)
    MachineKey.create(path, WORDS)
    key.write_again(path, WORDS)
    if isinstance(given, str):
        # Opened, and then found to be another key's: the latest moment to fail.
        monkeypatch.setattr(_sealed_key, "_open", lambda *parts: Ed25519PrivateKey.generate())
        given = told(WORDS)
    with pytest.raises(KeyFileError) as refused:
        MachineKey.load(path, given)
    texts = [repr(key), repr(WORDS), str(WORDS), path.read_text(), shown(refused.value)]
    secrets = [*forms(SEED), *forms(WORDS.encode()), "wrong horse", "correct horse"]

    assert forms(SEED)[1] in shown(_holding(SEED)), "the control: a local would be seen"
    for text in texts:
        assert not any(secret in text for secret in secrets), text


def _holding(secret: bytes) -> BaseException:
    try:
        raise ValueError(len(secret))
    except ValueError as exc:
        return exc
