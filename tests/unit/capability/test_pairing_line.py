"""The line of text by which a machine asks to be paired."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.capability import Introduction, LineKind, PairingLine, pairing_line_untrusted
from psp.errors import CapabilityError

OWN = Introduction(name="laptop", certificate=b"\x30" * 330, archive_id=b"a" * 32, port=7001)
REQUEST = PairingLine(kind=LineKind.REQUEST, introduction=OWN)
REPLY = PairingLine(
    kind=LineKind.REPLY, introduction=OWN, for_key=b"k" * 32, host="box.example.org"
)


@pytest.mark.parametrize("line", [REQUEST, REPLY], ids=["request", "reply"])
def test_a_line_comes_back_as_it_went(line: PairingLine) -> None:
    text = line.to_text()
    assert pairing_line_untrusted(f"  {text}\n", line.kind) == line
    assert text.isascii()
    assert set("\n \"'$`") & set(text) == set()  # It survives a shell and a mail.


def test_a_line_that_goes_the_other_way_is_refused() -> None:
    with pytest.raises(CapabilityError, match="is a request, and a reply is needed"):
        pairing_line_untrusted(REQUEST.to_text(), LineKind.REPLY)


@given(st.integers(0, 10_000), st.sampled_from("Aa0_-"))
def test_a_line_that_was_copied_wrongly_is_refused(place: int, letter: str) -> None:
    text = REPLY.to_text()
    place %= len(text)
    for wrong in (text[:place] + letter + text[place + 1 :], text[:place], text + letter):
        if wrong != text:
            with pytest.raises(CapabilityError):
                pairing_line_untrusted(wrong, LineKind.REPLY)


@given(st.one_of(st.text(max_size=300), st.binary(max_size=200).map(lambda b: f"psp-pair1-{b!r}")))
def test_anything_else_is_refused_with_one_exception(text: str) -> None:
    with pytest.raises(CapabilityError):
        pairing_line_untrusted(text, LineKind.REQUEST)


def test_what_is_too_long_is_not_written() -> None:
    with pytest.raises(CapabilityError, match="too long"):
        replace(REPLY, host="h" * 254).to_text()
    with pytest.raises(CapabilityError):
        pairing_line_untrusted("psp-pair1-" + "A" * 100_000, LineKind.REQUEST)
