"""What crossed a connection, frame by frame, and not one value of it.

A recorder is for the day on which something is wrong: it is switched on at an archive that serves
real people, and its file is sent to somebody else. So it writes kinds, ids, method names, types and
sizes, and nothing that a caller said or an archive answered: no token, argument, result, chunk, map
key, or text of an error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from psp.errors import CALL_FAILURES, MalformedFrame
from psp.wire import (
    FRAMES,
    STATUS_ERROR,
    STATUS_REFERENCE,
    FrameReader,
    Places,
    Promised,
    Role,
)

from ._failures import printable

Redacted: TypeAlias = dict[str, Any]
"""One frame without its values: what becomes one line of JSON."""

Redact: TypeAlias = Callable[[Places], Redacted]


class Recorder:
    """Writes one line of JSON for each frame, in both directions. A `Tap` for one connection.

    It never raises: a full disk must not end a connection. Bytes that are no frame make one line
    that says so, and that direction is silent from there on, as the connection itself will be.

    Attributes:
        failure: What `write` or `redact` raised; nothing is recorded since. None while all is well.
    """

    def __init__(
        self,
        write: Callable[[str], object],
        *,
        role: Role,
        clock: Callable[[], float],
        redact: Redact | None = None,
    ) -> None:
        """
        Args:
            write: Takes each line, its newline included; a file's own `write` will do.
            role: The side that this recorder sits on.
            clock: Seconds; only differences count.
            redact: What is written of a frame, in place of `redacted`.
        """
        self.failure: Exception | None = None
        self._write = write
        self._clock = clock
        self._redact = redact or redacted
        self._start_s = clock()
        peer = Role.SUBJECT if role is Role.CONTROLLER else Role.CONTROLLER
        # What comes in was sent by the peer and is for us; None once it could not be understood.
        self._readers: dict[str, tuple[Role, FrameReader | None]] = {
            "in": (peer, FrameReader(role)),
            "out": (role, FrameReader(peer)),
        }

    def __call__(self, way: Literal["in", "out"], data: bytes) -> None:
        sender, reader = self._readers[way]
        if reader is None or self.failure is not None:
            return
        try:
            for places in reader.receive_untrusted(data):
                self._line(sender, {**self._redact(places), "bytes": reader.body_bytes})
        except MalformedFrame:
            # Its message may quote what was found; the line does not.
            self._readers[way] = sender, None
            self._line(sender, {"frame": "malformed"})
        except Exception as exc:
            self.failure = exc

    def close(self) -> None:
        """Say which directions ended inside a frame."""
        for sender, reader in self._readers.values():
            if reader is not None and reader.partial_frame:
                self._line(sender, {"frame": "incomplete"})

    def _line(self, sender: Role, what: Redacted) -> None:
        if self.failure is not None:
            return
        line = {"s": round(self._clock() - self._start_s, 6), "from": sender.value, **what}
        try:
            self._write(json.dumps(line, separators=(",", ":")) + "\n")
        except Exception as exc:
            self.failure = exc


def redacted(places: Places) -> Redacted:
    """Give what may be known of a frame: its kind, its ids, and the types and sizes of the rest."""
    shape = _SHAPES[places[0]]
    shown: Redacted = {"frame": shape.name}
    for (name, _), value in zip(shape.fields, places[1:], strict=True):
        shown |= _FIELDS.get(name, _as_it_is)(name, value)
    if shape.name == "RETURN":
        shown |= _payload(shown["status"], places[3])
    return shown


_SHAPES: Final = {shape.kind: shape for shape in FRAMES}


def type_of(value: object) -> str:
    """Name a value's type, and its size if it has one."""
    match value:
        case Promised(target=target):
            return f"promise of {_target('', target)['']}"
        case str() | bytes() | list() | tuple() | dict():
            return f"{_TYPES[type(value)]} of {len(value)}"
    return _TYPES[type(value)]


_TYPES: Final[Mapping[type, str]] = {
    type(None): "null",
    bool: "bool",
    int: "integer",
    float: "float",
    str: "text",
    bytes: "bytes",
    list: "list",
    tuple: "list",
    dict: "map",
    Decimal: "decimal",
    date: "date",
    datetime: "instant",
}


def _as_it_is(name: str, value: object) -> Redacted:
    """Ids and numbers of the protocol itself."""
    assert type(value) in (int, list), name
    return {name: value}


def _size(name: str, value: Sequence[object] | None) -> Redacted:
    return {} if value is None else {name: len(value)}


def _target(name: str, target: Any) -> Redacted:
    # The steps of a path are map keys, and those may be names of rows.
    return {name: target if type(target) is int else f"{target[0]} + {len(target[1])} steps"}


def _failure(name: str, failure: Sequence[Any] | None) -> Redacted:
    if failure is None:
        return {}
    code, processed, correlation_id, text = failure
    return {
        "error": CALL_FAILURES[code].word,
        "processed": processed,
        # It is made to be written down: without it nobody finds the fault in the other side's log.
        "correlation": printable(correlation_id),
        "text": len(text),
    }


def _payload(status: int, payload: Any) -> Redacted:
    if status == STATUS_ERROR:
        return _failure("", payload)
    # A reference is an id; a value, or a stream's header, is what nobody may see.
    return {"payload": payload if status == STATUS_REFERENCE else type_of(payload)}


_FIELDS: Final[Mapping[str, Callable[[str, Any], Redacted]]] = {
    "limits": _size,
    "features": _size,
    "archive_id": lambda name, value: {name: value.hex()},
    "archive_time": lambda name, value: {},
    "token": _size,
    "target": _target,
    "method": lambda name, value: {name: printable(value)},
    "arguments": lambda name, value: {name: [type_of(argument) for argument in value]},
    "invocation": _size,
    "text": _size,
    "data": _size,
    "payload": lambda name, value: {},
    "failure": _failure,
}
