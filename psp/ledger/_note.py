"""Signed notes: a few lines of text that anybody can read, and who signed them.

Source: C2SP signed-note. Only Ed25519 (type 0x01) is spoken; other lines are another verifier's.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from hashlib import sha256
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from psp.errors import CheckpointRejected, LedgerError

from ._limits import NOTE_BYTES_MAX, ORIGIN_BYTES_MAX

ED25519: Final = b"\x01"
KEY_ID_BYTES: Final = 4
DASH: Final = "\N{EM DASH} "


class Signer(Protocol):
    """An Ed25519 key that signs; where the private half lives is its own business."""

    @property
    def public_bytes(self) -> bytes:
        """The public key, 32 bytes (RFC 8032)."""

    def sign(self, data: bytes, /) -> bytes:
        """Return the signature, 64 bytes."""


def check_key_name(name: str) -> str:
    """Return the name if it can stand in a signature line.

    Raises:
        LedgerError: It cannot.
    """
    printable = name.isprintable() and not any(c.isspace() or c == "+" for c in name)
    # Encoding a lone surrogate fails, but `isprintable` has already refused it.
    if not name or not printable or len(name.encode()) > ORIGIN_BYTES_MAX:
        raise LedgerError(
            f"{name!r} cannot name a ledger: 1 to {ORIGIN_BYTES_MAX} bytes without spaces, control"
            " characters or '+' are needed. Choose something like 'example.com/books'."
        )
    return name


def key_id(name: str, public_key: bytes) -> bytes:
    """Return the 4 bytes that name a key in a signature line; they hint, they do not prove."""
    return sha256(name.encode() + b"\n" + ED25519 + public_key).digest()[:KEY_ID_BYTES]


def sign_note(text: str, *, name: str, key: Signer) -> bytes:
    """Return a note with one signature. `text` ends in a newline and is what is signed."""
    assert text.endswith("\n"), "the final newline is part of the signed text"
    signed = key_id(name, key.public_bytes) + key.sign(text.encode())
    return f"{text}\n{DASH}{name} {b64encode(signed).decode()}\n".encode()


def verify_note_untrusted(note: bytes, *, name: str, public_key: bytes) -> str:
    """Return the text of a note that the given key has signed.

    Lines of other keys are ignored, whatever they hold: a witness or a later algorithm may add its
    own. A line of *this* key that does not verify refuses the note, even beside one that does.

    Raises:
        CheckpointRejected: Not a note, or not signed by that key. Nothing else is raised.
    """
    text, lines = _split_untrusted(note)
    ours = key_id(name, public_key)
    signatures = [
        signed[KEY_ID_BYTES:]
        for signer, signed in map(_signature_line_untrusted, lines)
        if signer == name and signed[:KEY_ID_BYTES] == ours
    ]
    if not signatures:
        raise CheckpointRejected(f"no signature by {name} with key id {ours.hex()}")
    for signature in signatures:
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            raise CheckpointRejected(f"the signature by {name} does not fit the text") from None
    return text


def _split_untrusted(note: bytes) -> tuple[str, list[str]]:
    """Return the text with its newline, and the signature lines without theirs."""
    if len(note) > NOTE_BYTES_MAX:
        raise CheckpointRejected(f"a note of {len(note):,} bytes; at most {NOTE_BYTES_MAX:,}")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise CheckpointRejected(f"a note is UTF-8; {exc.reason} at byte {exc.start}") from None
    if any(c < " " and c != "\n" for c in whole):
        raise CheckpointRejected("a note holds no control characters but newlines")
    # The *last* empty line divides: the text may have empty lines of its own.
    text, divider, signatures = whole.rpartition("\n\n")
    if not divider or not signatures.endswith("\n"):
        raise CheckpointRejected("a note ends in an empty line and signature lines; it is cut off")
    # Not `splitlines`, which also splits at characters that are allowed inside a line.
    return text + "\n", signatures[:-1].split("\n")


def _signature_line_untrusted(line: str) -> tuple[str, bytes]:
    name, _, encoded = line.removeprefix(DASH).partition(" ")
    try:
        signed = b64decode(encoded, validate=True)
    except (Base64Error, ValueError):
        signed = b""
    if not line.startswith(DASH) or not name or len(signed) <= KEY_ID_BYTES:
        raise CheckpointRejected(f"{line[:80]!r} is not a signature line")
    # Python drops stray bits in the last character, so two texts would mean one signature.
    if b64encode(signed).decode() != encoded:
        raise CheckpointRejected(f"{line[:80]!r} is not in its one base64 form")
    return name, signed
