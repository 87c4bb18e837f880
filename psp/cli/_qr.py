"""What a person carries, as QR codes: in the terminal, and as PNG or SVG."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Final

import segno

from psp.errors import EstateError

from ._common import out

_BORDER: Final = 2
_SCALE: Final = 4
_FORMATS: Final = (".png", ".svg")


def show_qr(text: str) -> None:
    """Draw a text in the terminal, two modules in a character.

    Raises:
        EstateError: The terminal is too narrow.
    """
    code = _code(text)
    width, _ = code.symbol_size(border=_BORDER)
    if width > (there := out().width):
        raise EstateError(
            f"the QR code is {width} characters wide, and the terminal has {there}. Make it wider,"
            " or write a picture with --qr-file FILE.png"
        )
    drawn = io.StringIO()
    code.terminal(drawn, border=_BORDER, compact=True)
    sys.stdout.write(drawn.getvalue())


def write_qr(text: str, file: Path) -> None:
    """Write a text as a picture.

    Raises:
        EstateError: The file is no .png or .svg, or cannot be written.
    """
    if file.suffix.lower() not in _FORMATS:
        raise EstateError(f"{file.name} is no picture that is written here; use .png or .svg")
    code = _code(text)
    try:
        code.save(str(file), scale=_SCALE, border=2 * _BORDER)
    except OSError as exc:
        raise EstateError(f"{file} was not written ({exc.strerror}). Check the path.") from exc


def _code(text: str) -> segno.QRCode:
    return segno.make(text, error="l", micro=False, boost_error=False)
