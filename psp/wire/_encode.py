"""Frames to bytes: packed one by one, sent together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple

import msgpack

from psp.errors import LimitExceeded, LocalProtocolError
from psp.values import Value, to_ext

from ._frames import CHUNK
from ._layout import CHUNK_HEADER, HEADER, HEADER_BYTES, KIND_END, NUMBER_FORMS, PROMISED_EXT
from ._limits import BODY_BYTES_MAX, CHUNK_HEADER_BYTES, PROMISED_BYTES_MAX
from ._value import Promised, ValueFault, check_arguments, check_value, compose

_SHORT_HEADERS: Final = tuple(map(HEADER.pack, range(1024)))


class Template(NamedTuple):
    """A frame whose number alone is still to come.

    Attributes:
        pack: Makes the frame of what stands before the number, the number, and what follows it.
        end: The first number that needs more bytes than this one has for it.
    """

    pack: Callable[[bytes, int, bytes], bytes]
    head: bytes
    tail: bytes
    size: int
    end: int


_KEPT_BYTES_MAX: Final = 16 * 1024
"""A packer keeps its buffer at the largest size it ever had. After a body above this it is
replaced: an idle connection would hold 512 KiB for the one large answer it gave."""


def _to_ext(value: object) -> msgpack.ExtType:
    if type(value) is Promised:
        name = msgpack.packb(value.target)
        if len(name) > PROMISED_BYTES_MAX:
            raise ValueError(f"the name of an answer has {len(name)} bytes; shorten its path")
        return msgpack.ExtType(PROMISED_EXT, name)
    return to_ext(value)


def encode_value(value: Value) -> bytes:
    """Give the bytes of one value; equal values of equal order give equal bytes.

    Raises:
        LocalProtocolError: The value has no wire form.
        LimitExceeded: It has one, but it is larger than a limit.
    """
    body: bytes = _packed(msgpack.Packer(default=to_ext, buf_size=256), outgoing(value))
    _check_body(body)
    return body


def outgoing(value: object) -> object:
    """Check a value that we are about to send, and put its text into NFC.

    The same check as on receipt: what our peer must refuse would cost the whole connection.

    Raises:
        LocalProtocolError: The value has no wire form.
        LimitExceeded: It has one, but it is larger than a limit.
    """
    try:
        check_value(value)
        return compose(value)
    except ValueFault as exc:
        raise _not_sendable(exc) from exc


def outgoing_arguments(arguments: list[object]) -> object:
    """Do for a call's arguments what `outgoing` does for a value; `Promised` may stand in them."""
    try:
        check_arguments(arguments)
        return compose(arguments)
    except ValueFault as exc:
        raise _not_sendable(exc) from exc


def _not_sendable(fault: ValueFault) -> LimitExceeded | LocalProtocolError:
    if fault.is_limit:
        return LimitExceeded(f"the value has {fault}; send less at a time")
    return LocalProtocolError(f"the value cannot be sent: {fault}")


def _packed(packer: msgpack.Packer, fields: object) -> bytes:
    try:
        body: bytes = packer.pack(fields)
    except (ValueError, TypeError, OverflowError) as exc:
        packer.reset()
        raise LocalProtocolError(f"the value cannot be sent: {exc}") from exc
    return body


def _check_body(body: bytes) -> None:
    if len(body) > BODY_BYTES_MAX:
        raise LimitExceeded(
            f"{len(body)} bytes do not fit one frame of {BODY_BYTES_MAX}; ask or send less"
        )


def chunk_head(question: int, size: int) -> bytes:
    """Give what stands before the data of one CHUNK: its length, and its header."""
    return HEADER.pack(CHUNK_HEADER_BYTES + size) + CHUNK_HEADER.pack(CHUNK, question)


def chunk_frame(question: int, data: memoryview) -> bytes:
    """Give one CHUNK with its length, in one piece."""
    return chunk_head(question, len(data)) + data


def _template(frame: bytes) -> Template | None:
    form = NUMBER_FORMS.get(frame[KIND_END])
    if form is None:
        return None
    head, tail = frame[: KIND_END + 1], frame[KIND_END + 1 + form.size :]
    whole = Struct(f">{len(head)}s{form.format[1:]}{len(tail)}s")
    return Template(whole.pack, head, tail, len(frame), 1 << 8 * form.size)


class FrameWriter:
    """Frames on their way out: packed one by one, sent together.

    Attributes:
        waiting_bytes: What `take` would give.
    """

    def __init__(self) -> None:
        self._packer = msgpack.Packer(default=_to_ext, buf_size=256)
        self._waiting: list[bytes] = []
        self.waiting_bytes = 0

    def pack(self, fields: Sequence[object]) -> bytes:
        """Encode one body. Values in it have passed `outgoing`.

        Raises:
            LocalProtocolError: A value has no wire form.
            LimitExceeded: The body is longer than a frame may be.
        """
        body = _packed(self._packer, fields)
        if len(body) > _KEPT_BYTES_MAX:
            self._packer = msgpack.Packer(default=_to_ext, buf_size=256)
            _check_body(body)
        return body

    def add(self, body: bytes) -> None:
        """Let a packed body leave with the next `take`."""
        size = len(body)
        self.waiting_bytes += HEADER_BYTES + size
        self._waiting += (_SHORT_HEADERS[size] if size < 1024 else HEADER.pack(size), body)

    def write(self, fields: Sequence[object]) -> None:
        """Pack and add."""
        self.add(self.pack(fields))

    def write_short(self, fields: Sequence[object]) -> None:
        """Pack and add what is known to have a wire form and to be shorter than 1,024 bytes: a
        frame of the hot loop. Four function calls less."""
        body: bytes = self._packer.pack(fields)
        size = len(body)
        self.waiting_bytes += HEADER_BYTES + size
        self._waiting += (_SHORT_HEADERS[size], body)

    def write_template(self, fields: Sequence[object]) -> Template | None:
        """Do as `write`, and give what repeats it with another number after the kind: None if the
        number is too short to have many like it, or too long."""
        body = self.pack(fields)
        self.add(body)
        return _template(HEADER.pack(len(body)) + body)

    def write_like(self, template: Template, number: int) -> None:
        """Write an earlier frame again, with another number, below the template's end: a third of
        what packing it costs."""
        pack, head, tail, size, _ = template
        self.waiting_bytes += size
        self._waiting.append(pack(head, number, tail))

    def take(self) -> bytes:
        """Give all waiting frames as one piece: one send, not one for each frame."""
        waiting = self._waiting
        if not waiting:
            return b""
        data = b"".join(waiting)
        waiting.clear()
        self.waiting_bytes = 0
        return data
