"""The text form in the places where people put it."""

from __future__ import annotations

import textwrap

import pytest

from psp.capability import token_from_text_untrusted, token_to_text
from psp.errors import CapabilityError

from .actors import AGGREGATOR, OPERATOR, first_token, next_token

TOKEN = next_token(first_token(), OPERATOR, AGGREGATOR)
TEXT = token_to_text(TOKEN)


def test_every_line_is_short_enough_for_a_mail_and_for_a_qr_code() -> None:
    assert max(map(len, TEXT.splitlines())) == 66
    lines = "".join(it for it in TEXT.splitlines() if it.startswith("PSP1."))
    assert set(lines) <= set("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:")
    assert len(lines) < 4296, "what the largest QR code holds in this alphabet"


@pytest.mark.parametrize(
    "carried",
    [
        TEXT,
        TEXT.replace("\n", "\r\n"),
        TEXT.lower(),
        textwrap.indent(TEXT, "> > | "),
        textwrap.fill(TEXT.replace("\n", ""), 40),
        TEXT.replace("A", "A=\n"),
        "\n".join(f"> {TEXT[at : at + 23]}" for at in range(0, len(TEXT), 23)),
        f"Dear Ana,\n\nhere it is (PSP1. as agreed):\n{TEXT}\nRegards,\nPeter\n",
        TEXT + "\nOn Monday you wrote:\n" + textwrap.indent(TEXT, "> "),
        "\n".join(reversed(TEXT.splitlines())),
        "\ufeff" + TEXT.replace(".", ".\u200b"),
    ],
    ids=[
        "plain",
        "dos",
        "lower case",
        "quoted",
        "filled",
        "quoted-printable",
        "cut and quoted",
        "greeting",
        "twice",
        "any order",
        "zero width",
    ],
)
def test_it_survives(carried: str) -> None:
    assert token_from_text_untrusted(carried) == TOKEN


def test_a_damaged_line_is_named() -> None:
    lines = TEXT.splitlines()
    at = 20
    lines[3] = lines[3][:at] + ("B" if lines[3][at] == "A" else "A") + lines[3][at + 1 :]

    with pytest.raises(CapabilityError, match=r"line 3 of \d+ is damaged or missing"):
        token_from_text_untrusted("\n".join(lines))


def test_missing_lines_are_named() -> None:
    lines = TEXT.splitlines()

    with pytest.raises(CapabilityError, match=r"line 2, 5 of \d+"):
        token_from_text_untrusted("\n".join(lines[:2] + lines[3:5] + lines[6:]))


def test_two_grants_do_not_become_one() -> None:
    other = token_to_text(next_token(first_token(nonce=b"o" * 16), OPERATOR, AGGREGATOR))
    halves = TEXT.splitlines()[:3] + token_to_text(first_token()).splitlines()[3:]

    with pytest.raises(CapabilityError, match="twice with different text"):
        token_from_text_untrusted(TEXT + other)
    with pytest.raises(CapabilityError, match="lines of two grants"):
        token_from_text_untrusted("\n".join(halves))


@pytest.mark.parametrize(
    "text", ["", "PSP1.001.001.8.AAAA", "PSP1.001.001.A.AAAA", "PSP1.000.000.AA.AAAA", "nothing"]
)
def test_a_text_without_a_grant_says_so(text: str) -> None:
    with pytest.raises(CapabilityError, match="no grant is in this text"):
        token_from_text_untrusted(text)


def test_a_text_longer_than_a_mail_is_the_wrong_file() -> None:
    with pytest.raises(CapabilityError, match="more than a mail"):
        token_from_text_untrusted(" " * 262_145)


def test_more_bytes_than_a_token_are_refused() -> None:
    with pytest.raises(CapabilityError, match="4378 bytes"):
        token_from_text_untrusted(token_to_text(bytes(4378)))
