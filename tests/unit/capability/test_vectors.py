"""Other people's hard cases: public test vectors beside the repository, when they are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict

import pytest

from psp.capability import check_prime_order, check_public_key, verify_signature
from psp.capability._wire import decode_untrusted, encode
from psp.errors import CapabilityError

FLOATS = {0xCA, 0xCB}
"""What a float begins with; the suite writes integers as floats, too."""
VECTORS = Path(__file__).parents[4] / "shared" / "vectors"


class EdgeCase(TypedDict):
    number: int
    key: str
    sig: str
    msg: str
    flags: list[str] | None


def read(name: str) -> str:
    path = VECTORS / name
    if not path.exists():
        pytest.skip(f"{path} is not there: the vectors are kept beside the repository, not in it")
    return path.read_text("utf-8")


def is_accepted(key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        check_prime_order(key)
    except CapabilityError:
        return False
    return verify_signature(key, message, signature)


def test_wycheproof_agrees_about_every_signature() -> None:
    """Attack 6: 151 signatures, malleable and cut ones among them."""
    groups = json.loads(read("wycheproof-ed25519.json"))["testGroups"]
    disagreed = [
        case["tcId"]
        for group in groups
        for case in group["tests"]
        if is_accepted(
            bytes.fromhex(group["publicKey"]["pk"]),
            bytes.fromhex(case["msg"]),
            bytes.fromhex(case["sig"]),
        )
        != (case["result"] == "valid")
    ]

    assert disagreed == []
    assert sum(len(group["tests"]) for group in groups) == 151


def test_of_the_edge_cases_only_those_under_an_honest_key_are_accepted() -> None:
    """Attack 6: a bare verifier accepts 208 of the 914; under these two forging is still hard."""
    cases: list[EdgeCase] = json.loads(read("cctv-ed25519.json"))
    accepted = [
        case
        for case in cases
        if is_accepted(bytes.fromhex(case["key"]), case["msg"].encode(), bytes.fromhex(case["sig"]))
    ]

    assert len(cases) == 914
    assert len(accepted) == 2
    for case in accepted:
        assert not any("_A" in flag for flag in case["flags"] or ())


def test_the_cheap_check_refuses_every_second_encoding_and_every_key_of_small_order() -> None:
    cases: list[EdgeCase] = json.loads(read("cctv-ed25519.json"))
    weak = {
        it["key"] for it in cases if {"low_order_A", "non_canonical_A"} & set(it["flags"] or ())
    }

    assert weak
    for key in weak:
        with pytest.raises(CapabilityError):
            check_public_key(bytes.fromhex(key))


def test_of_all_encodings_of_a_value_exactly_one_is_canonical() -> None:
    """Attack 8: 233 encodings of 85 values; 50 are of kinds that a token may hold."""
    suite = json.loads(read("msgpack-test-suite.json"))
    cases = [case for cases in suite.values() for case in cases]
    held = [case for case in cases if may_be_held(case)]
    for case in cases:
        encodings = {bytes.fromhex(it.replace("-", "")) for it in case["msgpack"]}
        accepted = [data for data in encodings if is_canonical(data)]
        assert len(accepted) <= 1, case
        if case in held:
            shortest = min(len(data) for data in encodings if data[0] not in FLOATS)
            assert [len(data) for data in accepted] == [shortest], case
    assert (len(cases), len(held)) == (85, 50)


def may_be_held(case: dict[str, Any]) -> bool:
    """Whether a token's positions have this kind of value, by what the suite says of it."""
    (kind, *_), value = case, next(iter(case.values()))
    return kind in ("bool", "binary", "string", "bignum") or (
        isinstance(value, int) if kind == "number" else kind == "array" and {} not in value
    )


def is_canonical(data: bytes) -> bool:
    try:
        value = decode_untrusted(data)
        return not isinstance(value, float) and encode(value) == data  # type: ignore[arg-type]
    except ValueError:
        return False
