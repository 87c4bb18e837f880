"""Signed calls of any values: what travels verifies, and nothing else does."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from psp.capability import (
    Command,
    Invocation,
    hash_commands,
    sign_invocation,
    verify_invocation_untrusted,
)
from psp.errors import GrantRefused, LocalProtocolError
from psp.values import Value
from psp.wire import decode_value_untrusted, encode_value
from tests.unit.capability.actors import (
    AGGREGATOR,
    ARCHIVE,
    NOW,
    OPERATOR,
    TENANT,
    first_token,
    next_token,
    present,
)

CONSOLE = TENANT
GRANT = present(next_token(first_token(), OPERATOR, CONSOLE, presenter=AGGREGATOR))
TEXTS = st.text(st.characters(max_codepoint=0x3FF, exclude_categories=["Cs"]), max_size=6)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False, allow_infinity=False, places=4).filter(lambda d: abs(d) < 10**60)
    | st.dates()
    | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=10,
)
COMMANDS = st.lists(
    st.tuples(st.sampled_from(["table", "row", "query"]), st.lists(VALUES, max_size=3)),
    min_size=1,
    max_size=3,
)


def sign(commands: list[Command]) -> bytes:
    return sign_invocation(
        CONSOLE,
        archive_id=ARCHIVE.archive_id,
        grant_id=GRANT.grant_id,
        commands=commands,
        nonce=bytes(16),
        issued_s=NOW,
        expires_s=NOW + 60,
    )


def verify(data: bytes, commands: list[Command]) -> Invocation:
    return verify_invocation_untrusted(
        data,
        grant=GRANT,
        archive_id=ARCHIVE.archive_id,
        commands=commands,
        now_s=NOW,
        started_s=NOW - 100,
    )


def carried(commands: Any) -> list[Command]:
    """The commands as an archive reads them off the wire."""
    try:
        arrived: Any = decode_value_untrusted(encode_value([list(it) for it in commands]))
    except LocalProtocolError:
        assume(False)  # Two keys of one map are one text in NFC: it cannot be sent.
    return [(name, given) for name, given in arrived]


def shuffled(value: Value) -> Value:
    """The same value, its maps told in the other direction."""
    if isinstance(value, Mapping):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(it) for it in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(COMMANDS)
def test_what_was_signed_verifies_after_its_journey(commands: list[Command]) -> None:
    assert verify(sign(commands), carried(commands)) == Invocation(bytes(16), NOW, NOW + 60)


@settings(deadline=None)
@given(COMMANDS)
def test_the_order_in_which_a_map_is_told_is_no_part_of_it(commands: list[Command]) -> None:
    arrived = carried(commands)

    assert verify(sign(commands), [(name, [*map(shuffled, it)]) for name, it in arrived])


@settings(deadline=None)
@given(COMMANDS, COMMANDS)
def test_other_commands_are_refused(signed: list[Command], other: list[Command]) -> None:
    signed, other = carried(signed), carried(other)
    # What the wire tells apart (1, 1.0 and True) is told apart, but for the order of maps.
    if encode_value(_told(signed)) == encode_value(_told(other)):
        assert hash_commands(signed) == hash_commands(other)
        return
    with pytest.raises(GrantRefused, match="'invocation'"):
        verify(sign(signed), other)


@settings(deadline=None)
@given(COMMANDS, st.data())
def test_one_changed_argument_is_refused(commands: list[Command], data: st.DataObject) -> None:
    commands = carried(commands)
    at = data.draw(st.integers(0, len(commands) - 1))
    name, arguments = commands[at]
    place = data.draw(st.integers(0, len(arguments)))
    changed = [*arguments[:place], data.draw(VALUES), *arguments[place + 1 :]]
    other = carried([*commands[:at], (name, changed), *commands[at + 1 :]])
    assume(encode_value(_told(commands)) != encode_value(_told(other)))

    with pytest.raises(GrantRefused, match="'invocation'"):
        verify(sign(commands), other)


@settings(deadline=None)
@given(COMMANDS, st.data())
def test_an_invocation_with_one_bit_changed_is_refused(
    commands: list[Command], data: st.DataObject
) -> None:
    commands = carried(commands)
    changed = bytearray(sign(commands))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))

    with pytest.raises(GrantRefused, match="'invocation'"):
        verify(bytes(changed), commands)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(GrantRefused, match="'invocation'"):
        verify(data, [("table", ["sales"])])


@settings(deadline=None)
@given(TEXTS.map(lambda text: text + "e\u0301"))
def test_a_relay_cannot_send_text_in_a_form_that_was_not_signed(text: str) -> None:
    with pytest.raises(GrantRefused, match="'invocation'"):
        verify(sign([("row", [text])]), [("row", [text])])


def _told(value: Any) -> Any:
    """A value with its maps told in one order: another way to it than the code's own."""
    if isinstance(value, dict):
        return {key: _told(value[key]) for key in sorted(value)}
    return [_told(it) for it in value] if isinstance(value, list | tuple) else value
