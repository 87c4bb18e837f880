"""Every limit of the wire and of the RPC tables, each with its reason.

The values here are constants of PSP/1: a controller's first flight is legal without having read the
subject's HELLO, because a HELLO can only raise them (docs/protocol.md, "Limits").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from psp.errors import MalformedFrame

KIB: Final = 1024
MIB: Final = 1024 * KIB

BODY_BYTES_MAX: Final = 256 * KIB
"""Longest body of a frame. It is what one silent peer can pin in a half-received frame, and what a
small call waits for behind a large one: 2 ms at 1 Gbit/s."""

BODY_BYTES_SMALL: Final = 1 * KIB
"""Bodies up to here are decoded without first checking that every container is complete. The
decoder allocates a list from its *declared* length; nested lies in 1 KiB reach 3 MB at most, in
256 KiB they would reach 2 GB."""

DEPTH_MAX: Final = 32
"""Containers inside containers, the frame's own array not counted. Query plans nest 6 deep; a
recursive consumer of 32 levels is safe in every language."""

NODES_MAX: Final = 65_536
"""Values in one frame, containers and map keys included. A node costs about 64 bytes once decoded,
so a frame becomes at most 4 MiB that stay. (The decoder itself may pass through 18 MiB for one
frame of empty maps, before the count is known; never for more than one frame at a time.)"""

MAP_KEYS_MAX: Final = 4_096
"""Keys of one map. A table of the widest spreadsheet in use here has 2,000 columns."""

ID_MAX: Final = 2**63 - 1
"""Ids increase and are never reused; one each nanosecond lasts 292 years."""

INTEGER_MIN: Final = -(2**63)
INTEGER_MAX: Final = 2**63 - 1
"""MessagePack also has integers from 2^63 to 2^64-1. They are refused: SQL, Arrow and most
languages have no signed home for them."""

METHOD_CHARACTERS_MAX: Final = 128
"""A method name is a Python identifier; the longest in this project has 24 characters."""

TEXT_CHARACTERS_MAX: Final = 1_000
"""Text of an error or an abort. It is read by a person, and it is a stranger's text."""

CORRELATION_CHARACTERS_MAX: Final = 64
"""A correlation id: a UUID has 36 characters, a W3C trace id 32."""

IDS_PER_FRAME_MAX: Final = 4_096
"""Ids in one FINISH or RELEASE, 36 KiB at most: a sender with more writes several frames."""

HELLO_ITEMS_MAX: Final = 64
"""Versions, limits or features in one HELLO: room for decades of each."""

REMAINING_MS_MAX: Final = 24 * 60 * 60 * 1000
"""Longest time a call may be given: one day. A job that takes longer is asked for again."""

ACCEPT_BYTES_DEFAULT: Final = 1 * MIB
"""The largest result a caller takes unless it says otherwise. One above BODY_BYTES_MAX does not fit
one RETURN in any case (protocol.md, "Limits")."""

INVOCATION_BYTES_MAX: Final = 4 * KIB
"""The signature that an interactive grant asks for: about 200 bytes today."""

PROMISED_MAX: Final = 16
"""Answers that the arguments of one call may name. Each is looked up and waited for."""

PROMISED_BYTES_MAX: Final = BODY_BYTES_SMALL
"""One such name: an id and a path. Small, so that it is decoded without a scout."""

PROMISED_NODES_MAX: Final = 8_192
"""Values and keys that such names may put into the arguments of one call. A name is ten bytes; what
it names is copied: this much takes a millisecond. Larger values are better asked for as objects."""

CHUNK_HEADER_BYTES: Final = 9
"""0xC1, which MessagePack never uses, and the question's id in eight bytes."""

CHUNK_BYTES_MAX: Final = BODY_BYTES_MAX - CHUNK_HEADER_BYTES
"""Raw bytes of one CHUNK: 64 KiB chunks cost a fifth of the throughput, 1 MiB ones hold a small
call up for 2 ms."""

CHUNK_BYTES_SHARED: Final = 64 * KIB
"""Raw bytes of one CHUNK while other questions are asked: what a small call waits for."""

ARCHIVE_ID_BYTES: Final = 32
"""SHA-256 of the archive's root key and nonce (the capability layer makes it)."""

assert BODY_BYTES_SMALL < BODY_BYTES_MAX
assert IDS_PER_FRAME_MAX * 9 < BODY_BYTES_MAX  # 9 bytes: the longest id in MessagePack.


class Limits(NamedTuple):
    """What a subject allows one connection to hold; a HELLO names those it raises.

    A call over one of these is answered at once with `overloaded` or `limit` and `processed: no`.
    Never by ceasing to read: FINISH and RELEASE, which alone make room, ride the same stream.
    """

    calls_in_flight: int = 16_384
    """Calls whose answer is not there yet, the cancelled ones that still run included. 100 tasks
    use 100; a batch of independent calls uses thousands. About 1 KiB each: 16 MiB."""

    call_bytes_in_flight: int = 8 * MIB
    """Body bytes of those calls: 16,384 calls of 256 KiB would be 4 GiB."""

    queued_per_answer: int = 1_024
    """Pipelined calls that wait for one answer. They all start in one turn when it resolves."""

    answers_retained: int = 4_096
    """Answers kept until FINISH, so that calls can name them. Only the caller can make room, so
    more are refused. Calls with `no_pipelining` keep none and do not count."""

    retained_bytes: int = 16 * MIB
    """Encoded size of the values among them. A value beyond is sent but not kept: calls on it are
    answered `overloaded`."""

    exports: int = 16_384
    """References given out and not yet released, per connection."""

    path_length: int = 16
    """Steps from an answer into its value; a value is at most 32 deep, and nobody needed half."""

    token_bytes: int = 32 * KIB
    """A presented grant chain: 16 links of 1 to 2 KiB each."""

    streams: int = 64
    """Results that are being streamed. Each holds a handler and a buffer of its own, for as long as
    the reader likes; the calls between them must still find room."""

    grant_calls: int = 16_384
    """Calls in flight of one grant, over all connections to the archive: a second connection buys
    no second share."""

    grant_exports: int = 16_384
    """References of one grant, likewise."""

    ungranted_bytes: int = 1 * MIB
    """Bytes received before the first grant has verified. A paired machine without any grant can
    ask for health 10,000 times, then it must connect again."""


INITIAL_LIMITS: Final = Limits()

LIMIT_REASONS: Final[Mapping[str, str]] = {
    "calls_in_flight": "calls without an answer yet, cancelled ones that still run included",
    "call_bytes_in_flight": "body bytes of those calls",
    "queued_per_answer": "pipelined calls that wait for one answer",
    "answers_retained": "answers kept until FINISH",
    "retained_bytes": "encoded size of the values among them",
    "exports": "references given out and not released",
    "path_length": "steps of one path",
    "token_bytes": "bytes of one presented token",
    "streams": "results that are being streamed",
    "grant_calls": "calls in flight of one grant, over all connections",
    "grant_exports": "references of one grant, over all connections",
    "ungranted_bytes": "bytes received before a grant has verified; more end the connection",
}
assert tuple(LIMIT_REASONS) == Limits._fields


def raised_limits(limits: Limits) -> dict[str, int]:
    """Give the limits that a HELLO must name: those above the initial ones."""
    pairs = zip(Limits._fields, limits, INITIAL_LIMITS, strict=True)
    return {name: value for name, value, initial in pairs if value > initial}


def limits_from_hello_untrusted(raised: Mapping[str, int]) -> Limits:
    """Give the peer's limits; names of later versions are ignored.

    Raises:
        MalformedFrame: A limit below the initial one: calls already in flight relied on that.
    """
    known = {name: value for name, value in raised.items() if name in Limits._fields}
    limits = INITIAL_LIMITS._replace(**known)
    for name, value, initial in zip(Limits._fields, limits, INITIAL_LIMITS, strict=True):
        if value < initial:
            raise MalformedFrame(f"HELLO sets {name} to {value}; it can only raise {initial}")
    return limits
