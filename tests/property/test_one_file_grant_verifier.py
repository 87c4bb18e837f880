"""The one-file verifier of grants and the library never disagree, whatever is done to a token.

python -m tests.property.test_one_file_grant_verifier --mutations 1000000 --seed 7
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest
from cryptography.exceptions import InvalidSignature

from psp.capability import (
    Operation,
    Scope,
    TableRule,
    between,
    one_of,
    starts_with,
    verify_untrusted,
)
from psp.capability._link import decode_chain_untrusted
from psp.capability._signing import Tag, digest, tagged
from psp.errors import GrantRefused
from psp.transport import MachineKey
from tests.unit.capability.actors import (
    AGGREGATOR,
    ANCHOR_KEY,
    ARCHIVE,
    NOW,
    OPERATOR,
    STRANGER,
    TENANT,
    first_token,
    next_token,
)
from verifier import psp_grant

VERIFIER = Path(psp_grant.__file__)
# A millisecond for each key, and the keys are four: remembered here, as the library does by itself.
psp_grant.check_prime_order = lru_cache(psp_grant.check_prime_order)
PEOPLE = [OPERATOR, AGGREGATOR, TENANT, STRANGER]
MUTATIONS = 2_000

RICH = Scope(
    {
        "sales": TableRule(
            operations=frozenset({Operation.COUNT, Operation.READ, Operation.SUM}),
            output=frozenset({"price", "größe"}),
            filters=frozenset({"date", "zipcode"}),
            groups=frozenset({"zipcode"}),
            rows={
                "price": between(-3, 500_000, high_open=True),
                "zipcode": one_of(["98001", "98002", "ä"]),
                "date": one_of([True, False]),
                "größe": starts_with("ab"),
            },
            floor=10,
            rounding=5,
            rows_max=70_000,
            bytes_max=2**40,
            uses_total=300,
            local=True,
        ),
        "other": TableRule(operations=frozenset({Operation.META}), aggregates_only=True),
    },
    {"ledger": frozenset({"prove", "health"})},
)


def chain_of(count: int) -> bytes:
    token = first_token(PEOPLE[0], scope=RICH)
    for at in range(1, count):
        token = next_token(token, PEOPLE[at - 1], PEOPLE[at], scope=RICH, depth=3 - at)
    return token


TOKENS = [chain_of(count) for count in (1, 2, 3, 4)]


def ours(token: bytes, presenter: MachineKey, now_s: int = NOW) -> bytes | None:
    """Give the grant id; an empty scope is not the other one's affair, and a grant here."""
    try:
        grant = verify_untrusted(
            token,
            anchor=ARCHIVE,
            presenter=presenter.spki_hash,
            ceiling=decode_chain_untrusted(token).leaf.scope if len(token) < 4378 else Scope(),
            now_s=now_s,
        )
    except GrantRefused as exc:
        return decode_chain_untrusted(token).ids()[-1] if exc.step == "scope" else None
    return grant.grant_id


def theirs(token: bytes, presenter: MachineKey, now_s: int = NOW) -> bytes | None:
    try:
        return psp_grant.check(
            token,
            set(ARCHIVE.anchor_keys),
            now_s,
            archive=ARCHIVE.archive_id,
            epoch=ARCHIVE.epoch,
            presenter=presenter.spki_hash,
        )[0]
    except (ValueError, InvalidSignature):
        return None


def flip_a_bit(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def write_a_likely_byte(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    likely = b"\0\1\x7f\x80\x90\xa0\xc0\xc2\xc3\xc4\xca\xcc\xcd\xcf\xd0\xd9\xdc\xdd\xe0\xff"
    return data[:at] + bytes([random.choice(likely)]) + data[at + 1 :]


def cut(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[:at] + data[at + random.choice((1, 1, 2, 32, 64)) :]


def repeat(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data))
    return data[: at + random.choice((1, 2, 34))] + data[at:]


BYTE_CHANGES: list[Callable[[Random, bytes], bytes]] = [
    *(flip_a_bit, write_a_likely_byte, cut, repeat),
]
VALUES: list[Any] = [
    *(0, 1, 2, 3, 4, 5, 7, 10, 31, 32, 127, 128, 255, 256, 2**16, 2**32, 2**53 - 1, 2**53, 2**63),
    *(
        -1,
        -32,
        -33,
        -128,
        -129,
        -(2**63),
        True,
        False,
        None,
        1.0,
        "",
        "a",
        "b",
        "ä",
        "a\u0308",
        "\n",
    ),
    *(
        "x" * 32,
        "x" * 129,
        "x" * 257,
        b"",
        b"x" * 32,
        b"\1" + bytes(31),
        bytes(32),
        [],
        [1, 15],
        {},
    ),
    *([2, 10], [1, 25], [[1, 5], 3], 2**14 - 1, 1 << 11, -719162, 2932896, 2932897, NOW, NOW + 1),
]


def change_a_value(random: Random, tree: Any) -> Any:
    """Put another value, or another order, somewhere into a decoded body."""
    if not isinstance(tree, list) or not tree or random.random() < 0.05:
        return random.choice(VALUES)
    tree, at = list(tree), random.randrange(len(tree))
    what = random.random()
    if what < 0.7:
        tree[at] = change_a_value(random, tree[at])
    elif what < 0.8:
        tree.insert(at, random.choice([tree[at], *VALUES]))
    elif what < 0.9:
        del tree[at]
    else:
        other = random.randrange(len(tree))
        tree[at], tree[other] = tree[other], tree[at]
    return tree


def signed_again(random: Random, token: bytes) -> bytes:
    """Change the body of one link and sign all: what then is wrong is wrong in what it says."""
    bodies = [body for body, _ in msgpack.unpackb(token)]
    at = random.randrange(len(bodies))
    if random.random() < 0.8:
        tree = msgpack.unpackb(bodies[at])
        place = random.choice((11, 11, 11, random.randrange(len(tree))))
        tree[place] = change_a_value(random, tree[place])
        bodies[at] = msgpack.packb(tree)
    else:
        bodies[at] = random.choice(BYTE_CHANGES)(random, bodies[at])
    return signed(bodies)


def signed(bodies: list[bytes]) -> bytes:
    previous, pairs = bytes(32), []
    for body, by in zip(bodies, [ANCHOR_KEY, *PEOPLE], strict=False):
        signature = by.sign(tagged(Tag.GRANT_LINK, b"\1", previous, body))
        previous = digest(Tag.CHAIN, previous, body, signature)
        pairs.append([body, signature])
    return bytes(msgpack.packb(pairs))


def they_agree(random: Random, count: int) -> Counter[bool]:
    """Change tokens so many times; return how often both accepted and refused."""
    told = Counter[bool]()
    for _ in range(count):
        number = random.randrange(len(TOKENS))
        token, presenter, now_s = TOKENS[number], PEOPLE[number], NOW
        what = random.random()
        if what < 0.6:
            token = signed_again(random, token)
        elif what < 0.95:
            for _ in range(random.choice((1, 1, 2))):
                token = random.choice(BYTE_CHANGES)(random, token or b"\0")
        else:
            presenter = random.choice(PEOPLE)
            now_s += random.choice((-31, -30, 0, 3599, 3600, 86399, 86400))
        own, other = ours(token, presenter, now_s), theirs(token, presenter, now_s)
        assert own == other, (own, other, token.hex(), now_s)
        told[own is not None] += 1
    return told


def test_they_agree_about_thousands_of_changed_tokens() -> None:
    """Attack 20: a million of them with the command above."""
    told = they_agree(Random(1), MUTATIONS)

    assert told[False] > MUTATIONS / 2
    assert told[True] > MUTATIONS / 20


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_they_agree_about_a_true_token(count: int) -> None:
    token, presenter = TOKENS[count - 1], PEOPLE[count - 1]
    assert theirs(token, presenter) == ours(token, presenter) is not None


def test_it_is_one_short_file_that_knows_nothing_of_the_library() -> None:
    text = VERIFIER.read_text()
    assert len(text.splitlines()) < 200
    assert "import psp" not in text
    assert "from psp" not in text


def soak(mutations: int, seed: int) -> None:
    random = Random(seed)
    told = Counter[bool]()
    while sum(told.values()) < mutations:
        told.update(they_agree(random, min(1_000, mutations - sum(told.values()))))
    for accepted, count in sorted(told.items()):
        sys.stdout.write(f"{'accepted' if accepted else 'refused'} by both: {count:,}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    told_to = parser.parse_args()
    soak(told_to.mutations, told_to.seed)
