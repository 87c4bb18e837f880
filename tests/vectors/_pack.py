"""Bytes from Python values, by the MessagePack library and nothing of psp's wire."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgpack

from psp.conformance import to_json
from psp.values import to_ext
from psp.wire import Promised

Part = str | dict[str, Any]
"""Hex, or {"repeat": hex, "times": n}: a map bomb should not fill a screen."""

ARCHIVE_ID = bytes(range(32))
ARCHIVE_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def pack(value: object) -> bytes:
    # Strict: a `Promised` is a tuple to Python, and would travel as a list.
    packed: bytes = msgpack.packb(value, default=_ext, strict_types=True)
    return packed


def _ext(value: object) -> msgpack.ExtType:
    if isinstance(value, Promised):
        return ext(4, pack(value.target))
    assert isinstance(value, Decimal | date | datetime)
    return to_ext(value)


def ext(code: int, data: bytes) -> msgpack.ExtType:
    return msgpack.ExtType(code, data)


def chunk(question: int, data: bytes) -> bytes:
    return b"\xc1" + question.to_bytes(8, "big") + data


def body_of(frame: Sequence[object]) -> bytes:
    """The body of a frame given by its places; a CHUNK is [193, question, data]."""
    if frame[0] == 0xC1:
        _, question, data = frame
        assert isinstance(question, int)
        assert isinstance(data, bytes)
        return chunk(question, data)
    return pack(list(frame))


def framed(*frames: Sequence[object]) -> bytes:
    bodies = [body_of(frame) for frame in frames]
    return b"".join(len(body).to_bytes(4, "big") + body for body in bodies)


def repeat(unit: str, times: int) -> dict[str, Any]:
    return {"repeat": unit, "times": times}


def case(words: str, **rest: object) -> dict[str, Any]:
    return {"words": words, **rest}


def valid(
    words: str,
    frame: Sequence[object],
    hexed: str | list[Part] | None = None,
    *,
    live: bool = False,
) -> dict[str, Any]:
    """A frame that its receiver must take; `live`: it may follow the HELLO of a connection."""
    assert isinstance(frame[0], int)
    receiver = "controller" if frame[0] >= 16 else "subject"
    return case(
        words,
        receiver=receiver,
        hex=body_of(frame).hex() if hexed is None else hexed,
        frame=to_json(list(frame)),
        **({"live": True} if live else {}),
    )


def invalid(receiver: str, rule: str, words: str, body: bytes | str | list[Part]) -> dict[str, Any]:
    return case(
        words, receiver=receiver, rule=rule, hex=body.hex() if isinstance(body, bytes) else body
    )
