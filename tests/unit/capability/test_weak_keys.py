"""A key under which anybody can sign is refused wherever a key can stand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from psp.capability import Tag, archive_id_of, verify_anchor_untrusted, verify_rotation_untrusted
from psp.capability._link import EMPTY_CHAIN, decode_chain_untrusted
from psp.capability._roots import sign_body
from psp.capability._signing import tagged
from psp.capability._wire import encode
from psp.errors import CapabilityError

from .actors import ANCHOR_KEY, LEDGER, OPERATOR, first_token, present
from .test_keys import SMALL_ORDER
from .test_roots import ID, NONCE, OLD, A, B


def link_with(position: str, key: bytes) -> None:
    link = decode_chain_untrusted(first_token()).leaf
    weak = replace(link, **{position: key})  # type: ignore[arg-type]
    present(EMPTY_CHAIN.extend(weak, ANCHOR_KEY).encode(), OPERATOR)


def anchor_with(root: bytes, anchor: bytes) -> None:
    body = encode([1, root, NONCE, [anchor], LEDGER.public_bytes, 1, 1])
    data = encode([body, A.sign(tagged(Tag.ANCHOR, body))])
    verify_anchor_untrusted(data, archive_id=archive_id_of(A.public_bytes, NONCE))


def rotation_with(key: bytes) -> None:
    body = encode([1, ID, 2, 1, [key]])
    statement = sign_body(Tag.KEY_ROTATION, body, [A, B])
    verify_rotation_untrusted(statement, archive_id=ID, roots=OLD)


POSITIONS = {
    "issuer": lambda key: link_with("issuer", key),
    "holder": lambda key: link_with("holder", key),
    "root key": lambda key: anchor_with(key, ANCHOR_KEY.public_bytes),
    "anchor key": lambda key: anchor_with(A.public_bytes, key),
    "rotated key": rotation_with,
}


@pytest.mark.parametrize("position", POSITIONS)
def test_the_fourteen_encodings_of_small_order_are_refused_there(position: str) -> None:
    for weak in SMALL_ORDER:
        with pytest.raises(CapabilityError, match=r"anybody can sign|second encoding"):
            POSITIONS[position](weak)
