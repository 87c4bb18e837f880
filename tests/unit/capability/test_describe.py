"""What a person sees of a token."""

from __future__ import annotations

from dataclasses import replace

import pytest

from psp.capability import Chain, decode_chain_untrusted, describe
from psp.capability._describe import _time
from psp.errors import GrantRefused

from .actors import (
    AGGREGATOR,
    ANCHOR_KEY,
    ARCHIVE,
    COUNT_ONLY,
    OPERATOR,
    first_token,
    next_token,
)

TOKEN = next_token(first_token(), OPERATOR, AGGREGATOR, scope=COUNT_ONLY)


def test_it_says_who_what_until_when_through_whom_and_narrowed_by_whom() -> None:
    said = describe(TOKEN)

    assert said.startswith("Nothing here is verified")
    for words in (
        ARCHIVE.archive_id.hex(),
        f"signed by  {ANCHOR_KEY.fingerprint}",
        f"for        {OPERATOR.fingerprint}; 3 more may follow",
        f"for        {AGGREGATOR.fingerprint}; nothing may follow",
        "allows     table sales: count; aggregates only; about 10 subjects or more.",
        "takes away table sales: sum, mean, output (price), filters (date, zipcode)",
        "until      2026-09-21 15:13:20Z",
    ):
        assert words in said


def test_it_never_prints_a_signature() -> None:
    for it in decode_chain_untrusted(TOKEN).signed:
        assert it.signature.hex()[:16] not in describe(TOKEN)


def test_it_says_what_will_be_refused() -> None:
    chain = decode_chain_untrusted(TOKEN)
    odd = replace(chain.leaf, archive_id=bytes(32), critical=(7,))
    said = describe(Chain(chain.signed[:1]).extend(odd, OPERATOR).encode())

    assert f"archive    {bytes(32).hex()}, another one: it will be refused" in said
    assert "extensions [7], unknown here: it will be refused" in said


def test_a_year_beyond_calendars_is_still_described() -> None:
    assert _time(2**53 - 1) == "second 9007199254740991"


def test_bytes_that_are_no_token_are_refused() -> None:
    with pytest.raises(GrantRefused, match="decode"):
        describe(b"no token")
