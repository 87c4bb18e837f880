"""Signed notes: a few lines of text that anybody can read, and who signed them.

Source: C2SP signed-note. Spoken are Ed25519 (type 0x01) for who wrote the text, and its timestamped
form (type 0x04) for who saw it; other lines are another verifier's.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from psp.errors import CheckpointRejected, LedgerError

from ._limits import (
    NOTE_BYTES_MAX,
    ORIGIN_BYTES_MAX,
    PUBLIC_KEY_BYTES,
    SIGNATURE_LINE_BYTES_MAX,
    SIGNATURE_LINES_MAX,
)

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


class Role(Enum):
    """What a key's signatures say. The value is the type byte of C2SP signed-note."""

    LEDGER = b"\x01"  # "This is what I hold": Ed25519 over the text.
    WITNESS = b"\x04"  # "I saw this extend what I saw before": Ed25519 over a time and the text.


def key_id(name: str, public_key: bytes, role: Role = Role.LEDGER) -> bytes:
    """Return the 4 bytes that name a key in a signature line; they hint, they do not prove."""
    return sha256(name.encode() + b"\n" + role.value + public_key).digest()[:KEY_ID_BYTES]


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name it signs under: all that somebody who checks must have.

    Attributes:
        name: Of the ledger (its origin) or of the witness.
        public_key: 32 bytes, Ed25519.
        role: What the key's signatures say.
    """

    name: str
    public_key: bytes
    role: Role = Role.LEDGER

    @property
    def key_id(self) -> bytes:
        """The 4 bytes in front of its signatures."""
        return key_id(self.name, self.public_key, self.role)

    def encode(self) -> str:
        """Return it as one line: `<name>+<key id>+<type and key>`. Source: C2SP signed-note."""
        material = b64encode(self.role.value + self.public_key).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"


def decode_verifier_key_untrusted(line: str) -> VerifierKey:
    """Return the key that such a line holds; the checksum in it finds a slip of the pen.

    Raises:
        CheckpointRejected: It holds none of ours. Nothing else is raised.
    """
    name, _, rest = line.partition("+")  # A name holds no plus; base64 does.
    _, _, encoded = rest.partition("+")
    try:
        material = b64decode(encoded, validate=True)
        key = VerifierKey(check_key_name(name), material[1:], Role(material[:1]))
    except (Base64Error, ValueError, LedgerError):
        key = None
    if key is None or len(key.public_key) != PUBLIC_KEY_BYTES or key.encode() != line:
        raise CheckpointRejected(
            f"{line[:80]!r} is no verifier key; one is NAME+ID+BASE64 of an Ed25519 key. Copy"
            " it whole from whoever runs the ledger or the witness."
        )
    return key


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
    parsed = parse_note_untrusted(note)
    signatures = parsed.signatures_of(name, key_id(name, public_key))
    if not signatures:
        wanted = key_id(name, public_key).hex()
        raise CheckpointRejected(f"no signature by {name} with key id {wanted}")
    for signature in signatures:
        verify_signature_untrusted(signature, parsed.text.encode(), name, public_key)
    return parsed.text


def verify_signature_untrusted(
    signature: bytes, message: bytes, name: str, public_key: bytes
) -> None:
    """Check one signature.

    Raises:
        CheckpointRejected: It is not the key's, over this message. Nothing else is raised.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise CheckpointRejected(f"the signature by {name} does not fit the text") from None


class SignatureLine(NamedTuple):
    """One line under a note, not verified."""

    name: str
    key_id: bytes
    signature: bytes


class Note(NamedTuple):
    """A note as it came: well formed, nothing about it verified.

    Attributes:
        text: What is signed, with its final newline.
        lines: The signature lines, of keys that may be anybody's.
    """

    text: str
    lines: list[SignatureLine]

    def signatures_of(self, name: str, key: bytes) -> list[bytes]:
        """Return what stands under a name and key id; the rest is another verifier's."""
        return [line.signature for line in self.lines if line[:2] == (name, key)]


def parse_note_untrusted(note: bytes) -> Note:
    """Divide a note in its text and its signature lines.

    Raises:
        CheckpointRejected: It is not a note, or beyond the limits. Nothing else is raised.
    """
    text, lines = _split_untrusted(note)
    if len(lines) > SIGNATURE_LINES_MAX:
        raise CheckpointRejected(f"{len(lines)} signature lines; at most {SIGNATURE_LINES_MAX}")
    return Note(text, [_signature_line_untrusted(line) for line in lines])


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


def _signature_line_untrusted(line: str) -> SignatureLine:
    if len(line.encode()) > SIGNATURE_LINE_BYTES_MAX:
        raise CheckpointRejected(f"a signature line over {SIGNATURE_LINE_BYTES_MAX:,} bytes")
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
    return SignatureLine(name, signed[:KEY_ID_BYTES], signed[KEY_ID_BYTES:])
