"""Grants and scopes as bytes, made from docs/capabilities.md with MessagePack and Ed25519 alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from struct import pack
from typing import Any, Final

import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NOW: Final = 1_790_000_000
HOUR, DAY, MOST = 3600, 86_400, 2**53 - 1
OPERATIONS: Final = (
    *("meta", "exists", "count", "sum", "min", "max", "mean", "variance", "distinct"),
    *("histogram", "sketch", "read", "append", "asset"),
)
_SPKI: Final = bytes.fromhex("302a300506032b6570032100")
P, ORDER = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493


class Person:
    """A key of the cases: the seed is one byte, 32 times."""

    def __init__(self, number: int) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)
        self.key = self._key.public_key().public_bytes_raw()
        self.machine = hashlib.sha256(_SPKI + self.key).digest()

    def sign(self, message: bytes) -> bytes:
        return self._key.sign(message)


ANCHOR, ONE, TWO, THREE, FOUR, STRANGER = map(Person, range(0x61, 0x67))
PEOPLE: Final = (ANCHOR, ONE, TWO, THREE, FOUR)
ARCHIVE: Final = hashlib.sha256(b"the archive of these cases").digest()
EPOCH: Final = 3
WEAK: Final = (1).to_bytes(32, "little")
# The key of STRANGER with a point of order eight added to it; test_grant_vectors.py adds it anew.
MIXED: Final = bytes.fromhex("3507b749e273b9c3cd5114a4b98374850e8fc603165ed05d1b738f4d276e7372")


def pae(*parts: bytes) -> bytes:
    return b"".join([pack("<Q", len(parts)), *(pack("<Q", len(it)) + it for it in parts)])


def rule(
    table: str = "sales",
    *,
    operations: str = "count mean",
    output: str = "price",
    filters: str = "zipcode",
    groups: str = "",
    rows: Mapping[str, Any] | None = None,
    flags: int = 1,
    floor: int = 10,
    rounding: int = 1,
    numbers: Sequence[int] = (MOST,) * 6,
) -> list[Any]:
    """Write a rule; `numbers` are rows, groups, bytes per call, and uses, rows, bytes in total."""
    lists, rows = [it.split() for it in (output, filters, groups)], rows or {}
    columns = sorted({name for it in (*lists, list(rows)) for name in it})
    return [
        *(table, columns, sum(1 << OPERATIONS.index(it) for it in operations.split())),
        *([sorted(map(columns.index, it)) for it in lists]),
        [[columns.index(name), rows[name]] for name in sorted(rows)],
        *(flags, floor, rounding, *numbers),
    ]


def scope(*rules: list[Any], objects: Sequence[Any] = ()) -> list[Any]:
    return [list(rules), list(objects)]


SALES: Final = scope(rule())


def body(at: int = 0, links: int = 1, **changes: Any) -> list[Any]:
    """Write the body of link `at` of a chain of so many; `changes` name places."""
    link: dict[str, Any] = {
        **{"version": 1, "kind": 1, "archive": ARCHIVE, "epoch": EPOCH},
        **{"issuer": PEOPLE[at].key, "holder": PEOPLE[at + 1].key},
        **{"presenter": PEOPLE[at + 1].machine, "start": NOW, "end": NOW + HOUR},
        **{"depth": links - 1 - at, "nonce": bytes([at]) * 16, "scope": SALES},
        **{"seen": [0, bytes(32)], "critical": []},
    }
    assert changes.keys() <= link.keys()
    return [*(link | changes).values()]


def chain(count: int = 1, at: int | None = None, **changes: Any) -> list[bytes]:
    """Pack the bodies of a chain; `changes` are of link `at`, by default of every link."""
    return [
        msgpack.packb(body(it, count, **(changes if at in (None, it) else {})))
        for it in range(count)
    ]


def pairs_of(
    bodies: Sequence[bytes], by: Sequence[Person] = PEOPLE, tag: bytes = b"PSP1.grant-link"
) -> list[list[bytes]]:
    previous, pairs = bytes(32), []
    for data, person in zip(bodies, by, strict=False):
        signature = person.sign(pae(tag, b"\1", previous, data))
        previous = hashlib.sha256(pae(b"PSP1.chain", previous, data, signature)).digest()
        pairs.append([data, signature])
    return pairs


def token(bodies: Sequence[bytes], by: Sequence[Person] = PEOPLE) -> bytes:
    return bytes(msgpack.packb(pairs_of(bodies, by)))


def grant_id(bodies: Sequence[bytes]) -> bytes:
    found = bytes(32)
    for data in bodies:
        found = hashlib.sha256(pae(b"PSP1.grant-id", found, data)).digest()
    return found


def accepted(
    words: str,
    bodies: Sequence[bytes],
    presenter: Person,
    *,
    now: int = NOW,
    window: tuple[int, int] = (NOW, NOW + HOUR),
) -> dict[str, Any]:
    return {
        **{"words": words, "token": token(bodies).hex(), "presenter": presenter.machine.hex()},
        **{"now": now, "grant": grant_id(bodies).hex(), "not_before": window[0]},
        **{"not_after": window[1], "signed_calls": bodies[-1].find(presenter.key) < 0},
    }


def domain_case(words: str, rows: Mapping[str, Any]) -> dict[str, Any]:
    return accepted(words, chain(scope=scope(rule(rows=rows))), ONE)


CHAINS: Final = [
    *(
        accepted(f"A chain of {count}, each link held by who presents it.", chain(count), who)
        for count, who in enumerate(PEOPLE[1:], start=1)
    ),
    accepted(
        "The last link is held by one key and presented by another: each call is signed.",
        chain(2, 1, presenter=THREE.machine),
        THREE,
    ),
    accepted("The last second of the window.", chain(), ONE, now=NOW + HOUR - 1),
    accepted("30 seconds early: a signer's clock may run ahead.", chain(), ONE, now=NOW - 30),
    accepted(
        "A first link of exactly seven days.",
        chain(end=NOW + 7 * DAY),
        ONE,
        window=(NOW, NOW + 7 * DAY),
    ),
    accepted(
        "A second link of exactly one day.",
        chain(2, end=NOW + DAY),
        TWO,
        window=(NOW, NOW + DAY),
    ),
    accepted(
        "The window is what the links have in common.",
        [*chain(2, 0, end=NOW + DAY)[:1], *chain(2, 1, start=NOW - 10, end=NOW + 60)[1:]],
        TWO,
        window=(NOW, NOW + 60),
    ),
    accepted(
        "A second link that asks for more than the first: it is a grant, and opens no more.",
        chain(2, 1, scope=scope(rule("other"), rule(operations="count mean sum", floor=1))),
        TWO,
    ),
    accepted(
        "Objects alone, two of them.",
        chain(scope=scope(objects=[["health", ["read"]], ["ledger", ["audit", "prove"]]])),
        ONE,
    ),
    accepted(
        "A column, a table and a prefix that are not ASCII, in NFC.",
        chain(scope=scope(rule("häuser", output="größe", rows={"größe": [3, "Ä"]}))),
        ONE,
    ),
    accepted(
        "Every number of a rule at its top but the records of one call, which `read` must set.",
        chain(
            scope=scope(
                rule(
                    operations=" ".join(OPERATIONS),
                    flags=2,
                    floor=MOST,
                    rounding=1000,
                    numbers=(1, *(MOST,) * 5),
                )
            )
        ),
        ONE,
    ),
    accepted("What the signer has seen of the ledger: nothing.", chain(seen=[0, bytes(32)]), ONE),
    domain_case(
        "A set of numbers, whole and decimal, rising by value.", {"price": [1, 1, [-1, [2, 1], 7]]}
    ),
    domain_case(
        "A set of dates and a set of booleans.",
        {"day": [1, 2, [-719162, 0, 2932896]], "sold": [1, 4, [False, True]]},
    ),
    domain_case(
        "A set of texts, rising by code point; the empty one is one.",
        {"zipcode": [1, 3, ["", "98001", "ä", "\U0001f3e0"]]},
    ),
    domain_case(
        "An interval without a low end, its high end outside.", {"price": [2, 1, [], [[1, 5]], 2]}
    ),
    domain_case("An interval of dates; its ends are inside.", {"day": [2, 2, [16000], [16001], 0]}),
]


def met(words: str, left: Any, right: Any, expected: Any) -> dict[str, Any]:
    return {
        "words": words,
        **{
            name: msgpack.packb(it).hex()
            for name, it in zip(("left", "right", "met"), (left, right, expected), strict=True)
        },
    }


def met_rules(words: str, left: Any, right: Any, expected: Any) -> dict[str, Any]:
    """Two rules of one table; `expected` is a rule, or None where nothing is left."""
    return met(words, *(scope(*([it] if it else [])) for it in (left, right, expected)))


def met_rows(words: str, left: Any, right: Any, expected: Any) -> dict[str, Any]:
    rules = [None if it is None else rule(rows={"price": it}) for it in (left, right, expected)]
    return met_rules(words, *rules)


NOTHING: Final = None
MEETS: Final = [
    met("Nothing and something: nothing.", scope(), SALES, scope()),
    met("Twice the same: the same.", SALES, SALES, SALES),
    met(
        "Only tables and methods that both name.",
        scope(rule("a"), rule("b"), objects=[["ledger", ["audit", "prove"]], ["x", ["y"]]]),
        scope(rule("b"), rule("c"), objects=[["ledger", ["prove", "show"]]]),
        scope(rule("b"), objects=[["ledger", ["prove"]]]),
    ),
    met(
        "An object of which no method is left is not there.",
        scope(rule(), objects=[["ledger", ["audit"]]]),
        scope(rule(), objects=[["ledger", ["prove"]]]),
        SALES,
    ),
    met_rules(
        "Operations of both.",
        rule(operations="count mean sum"),
        rule(operations="count max sum"),
        rule(operations="count sum"),
    ),
    met_rules("No operation in common.", rule(operations="count"), rule(operations="sum"), NOTHING),
    met_rules(
        "Columns of both, in each of the three lists by itself.",
        rule(output="a b", filters="a c", groups="b c"),
        rule(output="b c", filters="c", groups="a b"),
        rule(output="b", filters="c", groups="b"),
    ),
    met_rules(
        "Aggregates only if either says so; what is about one record is then not allowed.",
        rule(operations="count read", flags=0, numbers=(5, *(MOST,) * 5)),
        rule(operations="count read", flags=1, numbers=(9, *(MOST,) * 5)),
        rule(operations="count read", flags=1, numbers=(5, *(MOST,) * 5)),
    ),
    met_rules(
        "Nothing but reading, and aggregates only.",
        rule(operations="read", flags=0, numbers=(5, *(MOST,) * 5)),
        rule(operations="count read", flags=1, numbers=(9, *(MOST,) * 5)),
        NOTHING,
    ),
    met_rules("Local only if both say so.", rule(flags=3), rule(flags=1), rule(flags=1)),
    met_rules(
        "The larger floor and the larger rounding.",
        rule(floor=5, rounding=10),
        rule(floor=12, rounding=5),
        rule(floor=12, rounding=10),
    ),
    met_rules(
        "The smaller of each limit.",
        rule(numbers=(1, 20, 3, 40, 5, 60)),
        rule(numbers=(10, 2, 30, 4, 50, 6)),
        rule(numbers=(1, 2, 3, 4, 5, 6)),
    ),
    met_rules(
        "Rows that one side alone restricts stay restricted.",
        rule(rows={"price": [1, 1, [7]]}),
        rule(rows={"zipcode": [3, "98"]}),
        rule(rows={"price": [1, 1, [7]], "zipcode": [3, "98"]}),
    ),
    met_rows("Two sets.", [1, 1, [1, 2, 3]], [1, 1, [2, 3, 4]], [1, 1, [2, 3]]),
    met_rows(
        "Two sets with nothing in common: no row, no rule.", [1, 1, [1]], [1, 1, [2]], NOTHING
    ),
    met_rows("True is not one.", [1, 4, [True]], [1, 1, [1]], NOTHING),
    met_rows("A set and an interval.", [1, 1, [1, 5, 9]], [2, 1, [2], [9], 2], [1, 1, [5]]),
    met_rows("A set and a prefix.", [1, 3, ["ab", "b"]], [3, "a"], [1, 3, ["ab"]]),
    met_rows(
        "Two intervals; an open end is narrower than a closed one at the same place.",
        [2, 1, [1], [[1, 55]], 0],
        [2, 1, [1], [9], 1],
        [2, 1, [1], [[1, 55]], 1],
    ),
    met_rows(
        "Two intervals that share one value: a set.",
        [2, 1, [], [4], 0],
        [2, 1, [4], [], 0],
        [1, 1, [4]],
    ),
    met_rows(
        "Two intervals that touch at an open end.", [2, 1, [], [4], 2], [2, 1, [4], [], 0], NOTHING
    ),
    met_rows("Intervals of dates.", [2, 2, [1], [9], 0], [2, 2, [5], [], 0], [2, 2, [5], [9], 0]),
    met_rows("A number is no date.", [2, 1, [1], [], 0], [2, 2, [1], [], 0], NOTHING),
    met_rows("A prefix of a prefix.", [3, "98"], [3, "980"], [3, "980"]),
    met_rows("Two prefixes that differ.", [3, "98"], [3, "99"], NOTHING),
]


def refused(
    step: str,
    words: str,
    data: bytes,
    presenter: Person = ONE,
    *,
    now: int = NOW,
    **remembered: Any,
) -> dict[str, Any]:
    """Write a refusal; `remembered` is what the archive remembers, beside what it always does."""
    return {
        **{"step": step, "words": words, "token": data.hex()},
        **{"presenter": presenter.machine.hex(), "now": now, **remembered},
    }


def refused_link(step: str, words: str, **changes: Any) -> dict[str, Any]:
    return refused(step, words, token(chain(**changes)))


def refused_rule(words: str, place: int, value: Any) -> dict[str, Any]:
    """A rule with one place changed."""
    changed = rule(rows={"price": [1, 1, [7]]})
    changed[place] = value
    return refused_link("decode", words, scope=scope(changed))


def refused_rows(words: str, domain: Any) -> dict[str, Any]:
    return refused_link("decode", words, scope=scope(rule(rows={"price": domain})))


def refused_bytes(words: str, data: bytes) -> dict[str, Any]:
    """A body that is signed as it is, and not the one encoding of anything."""
    return refused("decode", words, token([data]))


def _swapped(data: bytes, old: bytes, new: bytes) -> bytes:
    assert data.count(old) == 1
    return data.replace(old, new)


_GOOD: Final = chain()[0]
_THREE: Final = pairs_of(chain(3))
_OTHER: Final = pairs_of(chain(3, nonce=b"other chain 0000"))


def _lifted(pairs: list[Any]) -> bytes:
    return bytes(msgpack.packb(pairs))


def _with_order_added(data: bytes) -> bytes:
    ((only, signature),) = msgpack.unpackb(data)
    scalar = int.from_bytes(signature[32:], "little") + ORDER
    return _lifted([[only, signature[:32] + scalar.to_bytes(32, "little")]])


_END: Final = msgpack.packb(NOW + HOUR)
REFUSALS: Final = [
    refused("size", "One byte more than the longest token.", bytes(4378)),
    refused("decode", "No bytes.", b""),
    refused("decode", "No link.", msgpack.packb([])),
    refused("decode", "Five links.", _lifted([*pairs_of(chain(4)), _THREE[0]])),
    refused("decode", "A byte after the token.", token(chain()) + b"\0"),
    refused("decode", "A signature of 63 bytes.", _lifted([[_GOOD, bytes(63)]])),
    refused("decode", "A pair of three.", _lifted([[_GOOD, bytes(64), b""]])),
    refused("decode", "The outer array in its long form.", b"\xdc\0\1" + token(chain())[1:]),
    refused("decode", "A body of 1,025 bytes.", token([bytes(1025)])),
    refused_bytes("A byte after the body.", _GOOD + b"\0"),
    refused_bytes("A body that ends early.", _GOOD[:-1]),
    refused_bytes("An integer in a form too long.", _swapped(_GOOD, b"\x9e\1\1", b"\x9e\1\xcc\1")),
    refused_bytes("The end as a float.", _swapped(_GOOD, _END, msgpack.packb(float(NOW + HOUR)))),
    refused_bytes("The end as null.", _swapped(_GOOD, _END, b"\xc0")),
    refused_bytes("A map in place of a scope.", _swapped(_GOOD, msgpack.packb(SALES), b"\x80")),
    refused_bytes(
        "The nonce as text.", _swapped(_GOOD, b"\xc4\x10" + bytes(16), b"\xb0" + bytes(16))
    ),
    refused_bytes(
        "An extension type for the nonce.",
        _swapped(_GOOD, b"\xc4\x10" + bytes(16), b"\xd8\1" + bytes(16)),
    ),
    refused_link("decode", "Version 2.", version=2),
    refused_link("decode", "Version true.", version=True),
    refused_link("decode", "Another kind.", kind=2),
    refused_link("decode", "An end of 2^53.", end=2**53),
    refused_link("decode", "An epoch of 2^32.", epoch=2**32),
    refused_link("decode", "A depth of four.", depth=4),
    refused_link("decode", "An issuer under which anybody can sign.", issuer=WEAK),
    refused_link("decode", "A holder under which anybody can sign.", holder=WEAK),
    refused_link("decode", "A holder in a second encoding.", holder=(P + 3).to_bytes(32, "little")),
    refused_link("decode", "A presenter of 31 bytes.", presenter=bytes(31)),
    refused_link("decode", "Two rules of one table.", scope=scope(rule(), rule())),
    refused_link("decode", "Tables that fall.", scope=scope(rule("b"), rule("a"))),
    refused_link("decode", "An object without methods.", scope=scope(objects=[["ledger", []]])),
    refused_rule("A table without a name.", 0, ""),
    refused_rule("A table's name that is not in NFC.", 0, "a\u0308"),
    refused_rule("A name with a line break.", 0, "sa\nles"),
    refused_rule("A column twice.", 1, ["price", "price", "zipcode"]),
    refused_rule("A column that the rule does not use.", 1, ["a", "price", "zipcode"]),
    refused_rule("No operation.", 2, 0),
    refused_rule("An operation that there is not.", 2, 1 << 14),
    refused_rule("Reading without a limit of records.", 2, 1 << 2 | 1 << 11),
    refused_rule("Reading alone under aggregates only.", 2, 1 << 11),
    refused_rule("A flag that there is not.", 7, 4),
    refused_rule("A floor of zero.", 8, 0),
    refused_rule("A rounding off the ladder.", 9, 2),
    refused_rule("A limit of 2^53.", 10, 2**53),
    refused_rows("The empty set.", [1, 1, []]),
    refused_rows("A set that falls.", [1, 1, [2, 1]]),
    refused_rows("65 values.", [1, 1, list(range(65))]),
    refused_rows("A set of two kinds.", [1, 1, [1, "1"]]),
    refused_rows("A decimal with a zero at its end.", [1, 1, [[1, 10]]]),
    refused_rows("An interval without ends.", [2, 1, [], [], 0]),
    refused_rows("An interval of one value, which is a set.", [2, 1, [4], [4], 0]),
    refused_rows("An interval of texts.", [2, 3, ["a"], ["b"], 0]),
    refused_rows("An open end of a date.", [2, 2, [1], [2], 1]),
    refused_rows("An empty prefix.", [3, ""]),
    refused_link("archive", "Another archive.", archive=bytes(32)),
    refused(
        "archive", "Another archive in the second link.", token(chain(2, 1, archive=bytes(32))), TWO
    ),
    refused_link("critical", "An extension that nobody knows.", critical=[1]),
    refused(
        "chain",
        "A stranger anchors the chain at himself.",
        token(chain(issuer=STRANGER.key), [STRANGER]),
    ),
    refused("chain", "The first link is left out.", _lifted(_THREE[1:]), THREE),
    refused("chain", "The second link is left out.", _lifted([_THREE[0], _THREE[2]]), THREE),
    refused("chain", "A link twice.", _lifted([*_THREE[:2], *_THREE[1:]]), THREE),
    refused(
        "chain", "Two links the other way round.", _lifted([_THREE[0], _THREE[2], _THREE[1]]), TWO
    ),
    refused("chain", "A link after the one that seals.", token([*chain(), *chain(2)[1:]]), TWO),
    refused("chain", "A depth that stays.", token(chain(2, depth=1)), TWO),
    refused("presenter", "Another machine brings it.", token(chain()), STRANGER),
    refused("presenter", "The machine of the link before brings it.", token(chain(2)), ONE),
    refused("time", "The second in which it ends.", token(chain()), now=NOW + HOUR),
    refused("time", "31 seconds early.", token(chain()), now=NOW - 31),
    refused_link("time", "An end before the start.", end=NOW - 1),
    refused_link("time", "Seven days and a second.", end=NOW + 7 * DAY + 1),
    refused(
        "time", "A second link of a day and a second.", token(chain(2, 1, end=NOW + DAY + 1)), TWO
    ),
    refused(
        "time",
        "The first link is over, the last is not.",
        token(chain(2, 0, end=NOW + 60)),
        TWO,
        now=NOW + 60,
    ),
    refused_link("epoch", "The epoch before.", epoch=EPOCH - 1),
    refused(
        "epoch", "The second link of the epoch before.", token(chain(2, 1, epoch=EPOCH - 1)), TWO
    ),
    *(
        refused(
            "revoked",
            f"Link {at} was revoked.",
            token(chain(3)),
            THREE,
            revoked_grants=[grant_id(chain(3)[: at + 1]).hex()],
        )
        for at in range(3)
    ),
    refused(
        "revoked",
        "The anchor key was revoked.",
        token(chain(3)),
        THREE,
        revoked_keys=[ANCHOR.key.hex()],
    ),
    refused(
        "revoked",
        "The key of a holder in between was revoked.",
        token(chain(3)),
        THREE,
        revoked_keys=[TWO.key.hex()],
    ),
    refused("signature", "Signed by another than its issuer.", token(chain(), [STRANGER])),
    refused(
        "signature",
        "Signed as a statement of another type.",
        _lifted(pairs_of(chain(), tag=b"PSP1.epoch")),
    ),
    refused(
        "signature",
        "A signature with the order of the group added.",
        _with_order_added(token(chain())),
    ),
    refused(
        "signature",
        "The last bit of the signature.",
        token(chain())[:-1] + bytes([token(chain())[-1] ^ 1]),
    ),
    refused(
        "signature",
        "A link of another chain with the same keys.",
        _lifted([*_THREE[:2], _OTHER[2]]),
        THREE,
    ),
    refused(
        "signature", "A second link signed by a stranger.", token(chain(2), [ANCHOR, STRANGER]), TWO
    ),
    refused("key", "A holder with a part of small order mixed in.", token(chain(holder=MIXED))),
    refused(
        "rollback", "The signer of the first link saw a later epoch.", token(chain(epoch=EPOCH + 1))
    ),
    refused(
        "rollback",
        "The second signer saw a ledger that is longer.",
        token(chain(2, 1, seen=[9, bytes(32)])),
        TWO,
    ),
    refused("seen", "A third signer says so.", token(chain(3, 2, seen=[9, bytes(32)])), THREE),
    refused(
        "scope",
        "Two links that have nothing in common.",
        token(chain(2, 1, scope=scope(rule("other")))),
        TWO,
    ),
    refused(
        "scope",
        "Under the pairing's ceiling nothing is left.",
        token(chain(scope=scope(rule("hidden")))),
        ceiling=msgpack.packb(scope(rule("other"))).hex(),
    ),
]
