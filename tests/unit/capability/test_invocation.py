"""A signed call: what is accepted, and that no field of it and nothing around it can be changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from psp.capability import (
    Command,
    Grant,
    Invocation,
    sign_invocation,
    verify_invocation_untrusted,
)
from psp.capability._invocation import hash_commands
from psp.capability._limits import INVOCATION_BYTES_MAX, TIME_S_MAX
from psp.capability._signing import Tag, tagged
from psp.capability._wire import decode_untrusted, encode
from psp.errors import CapabilityError, GrantRefused
from psp.transport import MachineKey

from .actors import (
    AGGREGATOR,
    ARCHIVE,
    NOW,
    OPERATOR,
    STRANGER,
    TENANT,
    CountingVerifier,
    first_token,
    next_token,
    present,
)

CONSOLE = TENANT
STARTED = NOW - 1000
NONCE = b"c" * 16
GRANT = present(next_token(first_token(), OPERATOR, CONSOLE, presenter=AGGREGATOR))
COMMANDS: list[Command] = [("table", ["sales"]), ("query", [[1, "sales", ["count"]]])]


def sign(
    commands: Sequence[Command] = COMMANDS,
    *,
    key: MachineKey = CONSOLE,
    archive_id: bytes = ARCHIVE.archive_id,
    grant_id: bytes = GRANT.grant_id,
    nonce: bytes = NONCE,
    issued_s: int = NOW,
    expires_s: int = NOW + 60,
) -> bytes:
    return sign_invocation(
        key,
        archive_id=archive_id,
        grant_id=grant_id,
        commands=commands,
        nonce=nonce,
        issued_s=issued_s,
        expires_s=expires_s,
    )


def verify(
    data: bytes,
    commands: Sequence[Command] = COMMANDS,
    *,
    grant: Grant = GRANT,
    archive_id: bytes = ARCHIVE.archive_id,
    now_s: int = NOW,
    started_s: int = STARTED,
    verifier: CountingVerifier | None = None,
) -> Invocation:
    return verify_invocation_untrusted(
        data,
        grant=grant,
        archive_id=archive_id,
        commands=commands,
        now_s=now_s,
        started_s=started_s,
        verifier=verifier or CountingVerifier(),
    )


def is_refused(data: bytes, commands: Sequence[Command] = COMMANDS, **how: object) -> bool:
    """Whether it is refused at the one step there is."""
    try:
        verify(data, commands, **how)  # type: ignore[arg-type]
    except GrantRefused as exc:
        return exc.step == "invocation"
    return False


def cost_of_refusing(data: bytes, commands: Sequence[Command] = COMMANDS, **how: object) -> int:
    """How many signatures were verified until it was refused."""
    verifier = CountingVerifier()
    assert is_refused(data, commands, verifier=verifier, **how)
    return verifier.count


def test_the_holder_who_is_not_the_presenter_is_granted_and_must_sign() -> None:
    assert GRANT.is_interactive
    assert not present(next_token(first_token(), OPERATOR, AGGREGATOR)).is_interactive


def test_what_the_holder_has_signed_is_accepted_for_one_verification() -> None:
    verifier = CountingVerifier()

    assert verify(sign(), verifier=verifier) == Invocation(NONCE, NOW, NOW + 60)
    assert verifier.count == 1


@pytest.mark.parametrize(
    "commands",
    [
        [("table", ["sales"])],
        [],
        [*reversed(COMMANDS)],
        [*COMMANDS, ("row", [["0016"]])],
        [COMMANDS[0], COMMANDS[0], COMMANDS[1]],
        [("table", ["rents"]), COMMANDS[1]],
        [("tables", ["sales"]), COMMANDS[1]],
        [("table", ["sales", None]), COMMANDS[1]],
        [("table", [["sales"]]), COMMANDS[1]],
        [("table", [b"sales"]), COMMANDS[1]],
        [COMMANDS[0], ("query", [[1, "sales", ["max"]]])],
        [COMMANDS[0], ("query", [[1.0, "sales", ["count"]]])],
        [COMMANDS[0], ("query", [[True, "sales", ["count"]]])],
        [COMMANDS[0], ("query", [[object(), "sales", ["count"]]])],
        [COMMANDS[0], ("query", [[2**64, "sales", ["count"]]])],
    ],
)
def test_other_commands_than_were_signed_cost_no_verification(commands: list[Command]) -> None:
    """Attack 18: a captured aggregator holds a signed call, and can make no other out of it."""
    assert cost_of_refusing(sign(), commands) == 0


def test_an_invocation_holds_for_one_grant_of_one_archive() -> None:
    twin = present(
        next_token(first_token(), OPERATOR, CONSOLE, presenter=AGGREGATOR, nonce=b"2" * 16)
    )

    assert cost_of_refusing(sign(), grant=twin) == 0
    assert cost_of_refusing(sign(grant_id=twin.grant_id)) == 0
    assert cost_of_refusing(sign(), archive_id=b"o" * 32) == 0
    assert cost_of_refusing(sign(archive_id=b"o" * 32)) == 0


@pytest.mark.parametrize("key", [AGGREGATOR, OPERATOR, STRANGER])
def test_nobody_but_the_last_holder_can_sign(key: MachineKey) -> None:
    """Neither who carries the call nor who made the grant."""
    assert cost_of_refusing(sign(key=key)) == 1


@pytest.mark.parametrize(
    ("now_s", "accepted"),
    [(NOW - 3, False), (NOW - 2, True), (NOW, True), (NOW + 59, True), (NOW + 60, False)],
)
def test_a_call_may_be_two_seconds_early_and_not_one_late(now_s: int, accepted: bool) -> None:
    assert is_refused(sign(), now_s=now_s) is not accepted


@pytest.mark.parametrize(
    ("started_s", "accepted"), [(NOW - 3, True), (NOW - 2, False), (NOW, False), (NOW + 1, False)]
)
def test_what_an_earlier_run_may_have_accepted_is_refused(started_s: int, accepted: bool) -> None:
    assert is_refused(sign(), started_s=started_s) is not accepted


def test_no_call_is_accepted_on_both_sides_of_a_restart() -> None:
    """Nonces are kept in memory, so dates alone must tell the two runs apart."""
    restart_s = NOW
    for issued_s in range(NOW - 70, NOW + 10):
        data = sign(issued_s=issued_s, expires_s=issued_s + 60)
        before = any(not is_refused(data, now_s=at) for at in range(NOW - 70, restart_s + 1))
        after = any(
            not is_refused(data, now_s=at, started_s=restart_s) for at in range(restart_s, NOW + 70)
        )
        assert not (before and after)


def resigned(**changes: object) -> bytes:
    """Sign a body that `sign_invocation` would refuse: what a modified console does."""
    names = ("version", "archive", "grant", "nonce", "issued_s", "expires_s", "commands")
    body = decode_untrusted(sign())[0]  # type: ignore[index]
    parts = dict(zip(names, decode_untrusted(body), strict=True))  # type: ignore[call-overload]
    changed = encode([*(parts | changes).values()])
    return encode([changed, CONSOLE.sign(tagged(Tag.INVOCATION, b"\x01", changed))])


def test_a_console_of_ones_own_makes_the_same_bytes() -> None:
    assert resigned() == sign()


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": True},
        {"archive": b"short"},
        {"grant": b"o" * 32},
        {"nonce": b"n" * 15},
        {"nonce": "n" * 16},
        {"issued_s": float(NOW)},
        {"issued_s": -1},
        {"expires_s": NOW + 61},
        {"expires_s": NOW},
        {"expires_s": TIME_S_MAX + 1},
        {"commands": b""},
        {"extra": 0},
    ],
)
def test_a_field_that_breaks_the_format_is_refused_whoever_signed(
    changes: dict[str, object],
) -> None:
    assert cost_of_refusing(resigned(**changes)) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\x90",
        b"\x92\xc4\x00\xc4\x00",
        b"\x91" * 200,
        b"\xdd\xff\xff\xff\xff",
        sign() + b"\xc0",
        sign()[:-1],
        b"\xdc\x00\x02" + sign()[1:],
        encode([b"\x80", bytes(64)]),
        encode(["text", bytes(64)]),
        bytes(INVOCATION_BYTES_MAX + 1),
    ],
)
def test_bytes_that_are_not_an_invocation_cost_no_verification(data: bytes) -> None:
    assert cost_of_refusing(data) == 0


def test_a_second_encoding_of_the_same_body_is_refused() -> None:
    body, _ = decode_untrusted(sign())  # type: ignore[misc]
    # The version as two bytes instead of one.
    longer = body[:1] + b"\xcc\x01" + body[2:]  # type: ignore[has-type]
    signed = encode([longer, CONSOLE.sign(tagged(Tag.INVOCATION, b"\x01", longer))])

    assert cost_of_refusing(signed) == 0


def test_a_signature_of_another_type_is_no_invocation() -> None:
    body, _ = decode_untrusted(sign())  # type: ignore[misc]
    for tag in (Tag.GRANT_LINK, Tag.ANCHOR):
        signature = CONSOLE.sign(tagged(tag, b"\x01", body))  # type: ignore[has-type]
        assert cost_of_refusing(encode([body, signature])) == 1  # type: ignore[has-type]


def test_every_changed_bit_is_refused() -> None:
    data = sign()
    for bit in range(0, len(data) * 8, 5):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        assert is_refused(bytes(changed))


def test_the_largest_invocation_has_the_size_of_the_limit() -> None:
    assert len(sign(issued_s=2**52, expires_s=2**52 + 60)) == INVOCATION_BYTES_MAX


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"d": 2, "c": 1}, "a": 1}),
        ((1, [2]), [1, (2,)]),
        (Decimal("1E+2"), Decimal("100")),
        (
            datetime(2026, 1, 1, 12, tzinfo=UTC),
            datetime(2026, 1, 1, 14, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_one_value_has_one_form(left: object, right: object) -> None:
    data = sign([("m", [left])])  # type: ignore[list-item]

    assert verify(data, [("m", [right])])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (1, True),
        (0.0, -0.0),
        ("a", b"a"),
        (Decimal("1.0"), Decimal("1.00")),
        (date(2026, 1, 1), "2026-01-01"),
        (None, []),
        ({}, []),
        ({"a": 1}, [["a", 1]]),
    ],
)
def test_two_values_have_two_forms(left: object, right: object) -> None:
    assert is_refused(sign([("m", [left])]), [("m", [right])])  # type: ignore[list-item]
    assert is_refused(sign([("m", [right])]), [("m", [left])])  # type: ignore[list-item]


def test_text_is_signed_as_it_travels_and_verified_as_it_came() -> None:
    """Or a relay could send letters in a form that nobody signed."""
    decomposed: list[Command] = [("m", ["e\u0301", {"e\u0301": ["e\u0301"]}])]
    composed: list[Command] = [("m", ["\u00e9", {"\u00e9": ["\u00e9"]}])]

    assert verify(sign(decomposed), composed)
    assert is_refused(sign(decomposed), decomposed)


@pytest.mark.parametrize(
    ("commands", "changes"),
    [
        ([], {}),
        ([("m", [object()])], {}),
        ([("m", [2**64])], {}),
        ([("m", ["\ud800"])], {}),
        ([("m", [datetime(2026, 1, 1)])], {}),
        (COMMANDS, {"nonce": b"n"}),
        (COMMANDS, {"grant_id": b""}),
        (COMMANDS, {"archive_id": b""}),
        (COMMANDS, {"expires_s": NOW + 61}),
        (COMMANDS, {"expires_s": NOW}),
        (COMMANDS, {"issued_s": -1, "expires_s": 5}),
    ],
)
def test_what_no_archive_would_accept_is_not_signed(
    commands: list[Command], changes: dict[str, object]
) -> None:
    with pytest.raises(CapabilityError):
        sign(commands, **changes)  # type: ignore[arg-type]


def test_a_grant_narrowed_to_the_presenter_is_not_the_holders_any_more() -> None:
    other = replace(GRANT, leaf_holder=AGGREGATOR.public_bytes)

    assert cost_of_refusing(sign(), grant=other) == 1


def test_the_hash_of_commands_is_kept_from_the_hash_of_their_parts() -> None:
    hashes = {
        hash_commands(commands)
        for commands in (
            [("m", ["a", "b"])],
            [("m", ["ab"])],
            [("m", []), ("a", ["b"])],
            [("m", [["a", "b"]])],
        )
    }

    assert len(hashes) == 4
