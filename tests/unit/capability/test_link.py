"""One encoding per link and per token, and nothing weak inside."""

from __future__ import annotations

from dataclasses import replace

import msgpack
import pytest

from psp.capability import (
    Chain,
    Link,
    Operation,
    Scope,
    Seen,
    TableRule,
    decode_chain_untrusted,
    one_of,
)
from psp.capability._wire import encode
from psp.errors import GrantRefused

from .actors import AGGREGATOR, OPERATOR, CountingVerifier, first_token, next_token, present

TOKEN = next_token(first_token(), OPERATOR, AGGREGATOR)
BODY = decode_chain_untrusted(TOKEN).signed[0].body
FIELDS: list[object] = msgpack.unpackb(BODY)


def with_field(position: int, value: object) -> bytes:
    fields = list(FIELDS)
    fields[position] = value
    packed: bytes = msgpack.packb(fields, datetime=True)
    return packed


@pytest.mark.parametrize("position", range(14))
@pytest.mark.parametrize(
    "value",
    [
        None,
        -1,
        2**53,
        2**64 - 1,
        1.0,
        float("nan"),
        float("inf"),
        True,
        "text",
        b"",
        bytes(31),
        bytes(33),
        [None],
        [[]],
        {},
        msgpack.ExtType(1, b""),
        msgpack.Timestamp(1, 0),
    ],
    ids=repr,
)
def test_a_field_of_another_type_or_range_is_refused(position: int, value: object) -> None:
    """Attack 8: nil, floats, NaN, a bool for an integer, extensions, 2**53, 2**64 - 1."""
    with pytest.raises(ValueError, match=r"\w"):
        Link.decode_untrusted(with_field(position, value))


@pytest.mark.parametrize(
    "body",
    [
        b"\xdc\x00\x0e" + BODY[1:],
        BODY[:1] + b"\xcc\x01" + BODY[2:],
        BODY[:1] + b"\xd0\x01" + BODY[2:],
        BODY + b"\xc0",
        BODY[:-1],
        b"\x9f" + BODY[1:] + b"\x90",
        BODY.replace(b"\xc4\x20", b"\xc5\x00\x20", 1),
        BODY.replace(b"\xa5price", b"\xd9\x05price", 1),
    ],
    ids=[
        "long array",
        "uint8",
        "int8",
        "trailing",
        "cut",
        "15 fields",
        "long bytes",
        "long text",
    ],
)
def test_a_second_encoding_of_a_link_is_refused(body: bytes) -> None:
    """Attack 8: lengths in more bytes than they need, a trailing byte, one field too many."""
    assert body != BODY
    with pytest.raises(ValueError, match=r"\w"):
        Link.decode_untrusted(body)


def test_columns_out_of_order_or_without_use_are_a_second_encoding() -> None:
    """Attack 8: there are no maps; what stands twice stands twice in an array."""
    scope: list[list[list[object]]] = msgpack.unpackb(encode(FIELDS[11]))  # type: ignore[arg-type]
    (rule,) = scope[0]
    assert rule[1] == ["date", "price", "zipcode"]
    unused = [*rule[:1], ["date", "price", "unused", "zipcode"], *rule[2:]]
    doubled = [*rule[:3], [1, 1], *rule[4:]]
    swapped = [*rule[:4], [2, 0], *rule[5:]]
    empty = [*rule[:2], 0, *rule[3:]]

    for wrong in ([unused], [doubled], [swapped], [empty], [rule, rule]):
        with pytest.raises(ValueError, match="canonical form"):
            Link.decode_untrusted(with_field(11, [wrong, scope[1]]))


@pytest.mark.parametrize("y", [0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18])
@pytest.mark.parametrize("position", [4, 5], ids=["issuer", "holder"])
def test_a_weak_key_is_refused_before_any_signature(position: int, y: int) -> None:
    body = with_field(position, y.to_bytes(32, "little"))
    token = encode([[body, bytes(64)]])
    verifier = CountingVerifier()

    with pytest.raises(GrantRefused, match="decode"):
        present(token, verifier=verifier)
    assert verifier.count == 0


def test_the_envelope_has_one_encoding_too() -> None:
    links = [[it.body, it.signature] for it in decode_chain_untrusted(TOKEN).signed]
    for wrong in (
        b"\xdc\x00\x02" + encode(links)[1:],
        encode([]),
        encode(links * 3),
        encode([*links, [BODY]]),
        encode([[bytes(1025), bytes(64)]]),
        encode([["text", bytes(64)]]),
        encode([[BODY, bytes(63)]]),
    ):
        with pytest.raises(GrantRefused, match="decode"):
            decode_chain_untrusted(wrong)


def test_what_the_signer_had_seen_of_the_ledger_is_carried() -> None:
    chain = decode_chain_untrusted(TOKEN)
    link = replace(chain.leaf, seen=Seen(41, b"r" * 32))
    token = Chain(chain.signed[:1]).extend(link, OPERATOR).encode()

    assert decode_chain_untrusted(token).leaf.seen == (41, b"r" * 32)
    assert present(token).leaf_holder == AGGREGATOR.public_bytes


def test_a_table_of_twenty_one_columns_fits_one_link() -> None:
    """Each name stands once, however many lists it is in: the King County sales need 21."""
    names = frozenset(f"sqft_living_{number:02}" for number in range(21))
    rule = TableRule(
        operations=frozenset(Operation),
        output=names,
        filters=names,
        groups=names,
        rows={"sqft_living_00": one_of([f"981{number}" for number in range(10, 40)])},
        rows_max=1,
    )
    link = decode_chain_untrusted(first_token(scope=Scope({"sales": rule}))).leaf

    assert len(link.encode()) < 1024
