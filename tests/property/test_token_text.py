"""A token's text after a mail: whole again, or the damaged line is named."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.capability import token_from_text_untrusted, token_to_qr_text, token_to_text
from psp.errors import CapabilityError

TOKENS = st.binary(min_size=1, max_size=700)
BLANKS = ["", " ", "   ", "\t", "\u00a0", "\u200b", "\ufeff", "=20", "\u3000"]
PREFIXES = ["", "> ", ">", "> > ", "  ", "| ", "\t> "]
ENDS = ["\n", "\r\n", "\r"]


@st.composite
def mailed(draw: st.DrawFn, text: str) -> str:
    """Wrap, quote and pad a text as mail programs do."""
    width = draw(st.integers(10, 80))
    prefix, end = draw(st.sampled_from(PREFIXES)), draw(st.sampled_from(ENDS))
    pieces = [
        line[at : at + width] or ""
        for line in text.splitlines()
        for at in range(0, len(line) or 1, width)
    ]
    # "=20" is a blank that a mail program wrote out; it stands at the end of a whole line only.
    blanks = BLANKS if width >= 66 else [it for it in BLANKS if it != "=20"]
    lines = [prefix + piece + draw(st.sampled_from(blanks)) for piece in pieces]
    before, after = draw(st.sampled_from(["", "Dear Ana,", "PSP1. is here:"])), "Regards, Peter"
    return end.join([before, *lines, after])


@given(TOKENS, st.data())
def test_a_token_survives_a_mail(token: bytes, data: st.DataObject) -> None:
    text = data.draw(mailed(token_to_text(token)))

    assert token_from_text_untrusted(text) == token


@given(TOKENS, st.data())
def test_a_damaged_line_is_named_and_no_other(token: bytes, data: st.DataObject) -> None:
    lines = token_to_text(token).splitlines()
    number = data.draw(st.integers(1, len(lines) - 2))
    at = data.draw(st.integers(len("PSP1.001.001."), len(lines[number]) - 6))
    other = data.draw(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
    line = lines[number]
    if line[at] == other:
        other = "B" if other == "A" else "A"
    lines[number] = line[:at] + other + line[at + 1 :]
    # A single line that is damaged leaves no line at all, so there is none to count by.
    says = rf"line {number} of {len(lines) - 2} is" if len(lines) > 3 else "no grant is in this"

    with pytest.raises(CapabilityError, match=says):
        token_from_text_untrusted(data.draw(mailed("\n".join(lines))))


@given(TOKENS)
def test_the_text_of_a_qr_code_is_read_and_fits_its_alphabet(token: bytes) -> None:
    text = token_to_qr_text(token)

    assert re.fullmatch(r"[0-9A-Z $%*+\-./:]+", text)
    assert token_from_text_untrusted(f"scanned:\n{text}\n") == token


@given(TOKENS, st.data())
def test_a_damaged_qr_text_is_refused(token: bytes, data: st.DataObject) -> None:
    text = token_to_qr_text(token)
    at = data.draw(st.integers(len("PSP1.QR."), len(text) - 1))
    other = "B" if text[at] == "A" else "A"
    if text[at] == ".":
        return

    with pytest.raises(CapabilityError, match=r"damaged|no grant"):
        token_from_text_untrusted(text[:at] + other + text[at + 1 :])


def test_three_links_are_too_many_for_a_code() -> None:
    assert len(token_to_qr_text(bytes(2189))) <= 4296
    with pytest.raises(CapabilityError, match="2190 bytes, and a QR code holds"):
        token_to_qr_text(bytes(2190))
