"""A token as text that survives an e-mail: wrapped, quoted, indented, surrounded by greetings.

Every line stands alone: `PSP1.003.014.` (line 3 of 14), 48 characters of Base32, a check of four.
So a reader finds the lines wherever they are, puts broken ones together again, and can say which
one is damaged. All characters are in the alphanumeric alphabet of QR codes.

The check finds accidents, not attacks: whether the token is good is for its signatures to say.
"""

from __future__ import annotations

import base64
import re
from typing import Final

from psp.errors import CapabilityError

from ._limits import BODY_BYTES_MAX, SIGNATURE_BYTES, TOKEN_BYTES_MAX
from ._signing import Tag, digest

_BEGIN: Final = "-----BEGIN PSP GRANT-----"
_END: Final = "-----END PSP GRANT-----"
_LINE_BYTES: Final = 30
"""48 characters of Base32; a line is then 66 long, and mail programs wrap at 72."""

_TEXT_CHARACTERS_MAX: Final = 256 * 1024
"""A whole mail with its quoted history; more is the wrong file."""

# What mail programs put inside a line when they break or quote it: white space, quote marks, the
# soft breaks of quoted-printable, and characters of no width.
_TORN: Final = re.compile(r"[\s>|=\u00ad\u200b-\u200d\u2060\ufeff]+")
_QR_HEAD: Final = "PSP1.QR."
_QR_BYTES_MAX: Final = 1 + 2 * (BODY_BYTES_MAX + SIGNATURE_BYTES + 6)
"""Two links of the largest size: 3,516 characters, where the largest QR code holds 4,296 of its
alphanumeric alphabet."""
_QR: Final = re.compile(r"PSP1\.QR\.([A-Z2-7]{1,3504})\.([A-Z2-7]{4})")
_LINE: Final = re.compile(r"PSP1\.(\d{3})\.(\d{3})\.([A-Z2-7]{1,48})\.([A-Z2-7]{4})")


def token_to_text(token: bytes) -> str:
    """Write a token as lines of at most 66 characters between a first and a last line."""
    pieces = [token[at : at + _LINE_BYTES] for at in range(0, len(token), _LINE_BYTES)]
    lines = [_line(number, len(pieces), piece) for number, piece in enumerate(pieces, start=1)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def token_to_qr_text(token: bytes) -> str:
    """Write a token for a QR code, which has room for two links and mends itself.

    Raises:
        CapabilityError: It is longer than two links can be; send the text form.
    """
    if len(token) > _QR_BYTES_MAX:
        raise CapabilityError(
            f"{len(token)} bytes, and a QR code holds a token of {_QR_BYTES_MAX}: two links. Send"
            " the text form."
        )
    return f"{_QR_HEAD}{_base32(token)}.{_check(_QR_HEAD, token)}"


def token_from_text_untrusted(text: str) -> bytes:
    """Find a token in a text. Nothing about it is verified but that no line is missing or damaged.

    Raises:
        CapabilityError: No whole token is there; the message names the lines. Nothing else.
    """
    if len(text) > _TEXT_CHARACTERS_MAX:
        raise CapabilityError(
            f"{len(text)} characters are more than a mail; paste the lines of the grant only."
        )
    text = _TORN.sub("", text).upper()
    if (code := _QR.search(text)) is not None:
        return _from_qr(code)
    found, counts = _find_lines(text)
    if not found:
        raise CapabilityError(
            "no grant is in this text. The lines of one begin with PSP1. and a number; ask for"
            " the text again."
        )
    if len(counts) > 1:
        raise CapabilityError("lines of two grants are mixed in this text; paste one grant.")
    (count,) = counts
    if lost := [number for number in range(1, count + 1) if number not in found]:
        names = ", ".join(str(number) for number in lost[:10])
        raise CapabilityError(
            f"line {names} of {count} is damaged or missing. Copy that line again from where the"
            " grant came from."
        )
    token = b"".join(found[number] for number in range(1, count + 1))
    if len(token) > TOKEN_BYTES_MAX:
        raise CapabilityError(f"{len(token)} bytes; a token has at most {TOKEN_BYTES_MAX}.")
    return token


def _find_lines(text: str) -> tuple[dict[int, bytes], set[int]]:
    """Return the undamaged lines by number, and the counts they name."""
    found: dict[int, bytes] = {}
    counts = set()
    for match in _LINE.finditer(text):
        number, count, payload = int(match[1]), int(match[2]), match[3]
        piece = _undamaged(number, count, payload, match[0])
        if piece is None:
            continue  # Its number will be missing, which is how it is reported.
        if found.setdefault(number, piece) != piece:  # A quoted copy of the same is fine.
            raise CapabilityError(
                f"line {number} is there twice with different text; paste one grant."
            )
        counts.add(count)
    return found, counts


def _undamaged(number: int, count: int, payload: str, line: str) -> bytes | None:
    piece = _decoded(payload)
    if piece is None or not 1 <= number <= count:
        return None
    return piece if _line(number, count, piece) == line else None


def _from_qr(code: re.Match[str]) -> bytes:
    token = _decoded(code[1]) or b""
    if not 1 <= len(token) <= _QR_BYTES_MAX or code[0] != token_to_qr_text(token):
        raise CapabilityError(
            "the text of this QR code is damaged. Scan it again, or ask for the text form."
        )
    return token


def _decoded(payload: str) -> bytes | None:
    try:
        return base64.b32decode(payload + "=" * (-len(payload) % 8))
    except ValueError:
        return None


def _line(number: int, count: int, piece: bytes) -> str:
    head = f"PSP1.{number:03}.{count:03}."
    return f"{head}{_base32(piece)}.{_check(head, piece)}"


def _check(head: str, piece: bytes) -> str:
    return _base32(digest(Tag.TEXT_LINE, head.encode(), piece))[:4]


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=")
