"""Bytes to frames and back. Bytes become a frame in one step, with one exception."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import Struct
from typing import Final

import msgpack

from psp.errors import LimitExceeded, LocalProtocolError, MalformedFrame
from psp.values import Value, from_ext, to_ext

from ._frames import Frame, FrameShape, Role, receivable_by
from ._limits import BODY_BYTES_MAX, BODY_BYTES_SMALL, MAP_KEYS_MAX, NODES_MAX
from ._value import ValueFault, check_value, compose

HEADER_BYTES: Final = 4
_HEADER: Final = Struct(">I")

_KEPT_BYTES_MAX: Final = 16 * 1024
"""A packer keeps its buffer at the largest size it ever had. After a body above this it is
replaced: an idle connection would hold 512 KiB for the one large answer it gave."""


def _to_map(pairs: list[tuple[str, object]]) -> dict[str, object]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        raise ValueError("a map has a key twice")
    return decoded


# Lengths are bounded by the nodes of a frame. Keys are text or bytes here; `check_value` then
# refuses bytes. Text is UTF-8 without surrogates.
_LIMITS: Final = {"max_array_len": NODES_MAX, "max_map_len": MAP_KEYS_MAX}
_SMALL_LIMITS: Final = {"max_array_len": BODY_BYTES_SMALL, "max_map_len": BODY_BYTES_SMALL}


def _decode_untrusted(body: bytes | memoryview) -> object:
    """Decode exactly one MessagePack value.

    Raises:
        MalformedFrame: Anything else than one value. Nothing else is raised.
    """
    try:
        if len(body) > BODY_BYTES_SMALL:
            # Skipping builds nothing and fails on a container that is shorter than it says; see
            # BODY_BYTES_SMALL for what decoding it at once would allocate.
            scout = msgpack.Unpacker(max_buffer_size=BODY_BYTES_MAX)
            scout.feed(body)
            scout.skip()
        decoded: object = msgpack.unpackb(
            body, object_pairs_hook=_to_map, ext_hook=from_ext, strict_map_key=True, **_LIMITS
        )
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        # The decoder says ValueError to bad UTF-8, trailing bytes, depth and lengths, and has a
        # family of its own for bytes that end too early.
        raise MalformedFrame(f"a body of {len(body)} bytes is not MessagePack: {exc}") from exc
    return decoded


def _to_frame_untrusted(decoded: object, receivable: Mapping[int, FrameShape]) -> Frame:
    if type(decoded) is not list or not decoded or type(decoded[0]) is not int:
        raise MalformedFrame("a body is one list that starts with the frame's kind")
    shape = receivable.get(decoded[0])
    if shape is None:
        raise MalformedFrame(f"frame kind {decoded[0]} cannot be received here")
    if len(decoded) != len(shape.fields) + 1:
        raise MalformedFrame(f"{shape.name} has {len(shape.fields) + 1} places, not {len(decoded)}")
    if shape.is_plain is not None and shape.is_plain(decoded):
        return shape.make(decoded)
    try:
        for place, (name, field) in enumerate(shape.fields, start=1):
            if not field.accepts(decoded[place]):
                raise MalformedFrame(f"{shape.name}.{name} must be: {field.words}")
    except ValueFault as exc:
        raise MalformedFrame(f"{shape.name} holds {exc}") from exc
    if shape.agrees is not None and not shape.agrees(decoded):
        raise MalformedFrame(f"the fields of this {shape.name} contradict each other")
    return shape.make(decoded)


def decode_body_untrusted(body: bytes | memoryview, *, receiver: Role) -> Frame:
    """Turn one frame body from a peer into a frame that `receiver` may receive.

    Raises:
        MalformedFrame: For any bytes that are not exactly one such frame. Nothing else is raised.
    """
    if len(body) > BODY_BYTES_MAX:
        raise MalformedFrame(f"a body of {len(body)} bytes; the limit is {BODY_BYTES_MAX}")
    return _to_frame_untrusted(_decode_untrusted(body), _RECEIVABLE[receiver])


_RECEIVABLE: Final = {role: receivable_by(role) for role in Role}


def decode_value_untrusted(data: bytes | memoryview) -> Value:
    """Turn bytes into one value, by the rules of a frame's values.

    Raises:
        MalformedFrame: For any bytes that are not exactly one value. Nothing else is raised.
    """
    if len(data) > BODY_BYTES_MAX:
        raise MalformedFrame(f"a value of {len(data)} bytes; the limit is {BODY_BYTES_MAX}")
    decoded = _decode_untrusted(data)
    try:
        check_value(decoded)
    except ValueFault as exc:
        raise MalformedFrame(f"not a value: {exc}") from exc
    return decoded  # type: ignore[return-value]  # `check_value` has just shown it.


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
        if exc.is_limit:
            raise LimitExceeded(f"the value has {exc}; send less at a time") from exc
        raise LocalProtocolError(f"the value cannot be sent: {exc}") from exc


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


class FrameWriter:
    """Frames on their way out: packed one by one, sent together."""

    def __init__(self) -> None:
        self._packer = msgpack.Packer(default=to_ext, buf_size=256)
        self._waiting: list[bytes] = []

    def pack(self, fields: Sequence[object]) -> bytes:
        """Encode one body. Values in it have passed `outgoing`.

        Raises:
            LocalProtocolError: A value has no wire form.
            LimitExceeded: The body is longer than a frame may be.
        """
        body = _packed(self._packer, fields)
        if len(body) > _KEPT_BYTES_MAX:
            self._packer = msgpack.Packer(default=to_ext, buf_size=256)
            _check_body(body)
        return body

    def add(self, body: bytes) -> None:
        """Let a packed body leave with the next `take`."""
        self._waiting.append(len(body).to_bytes(HEADER_BYTES, "big"))
        self._waiting.append(body)

    def write(self, fields: Sequence[object]) -> None:
        """Pack and add."""
        self.add(self.pack(fields))

    def take(self) -> bytes:
        """Give all waiting frames as one piece: one send, not one for each frame."""
        data = b"".join(self._waiting)
        self._waiting.clear()
        return data

    @property
    def waiting_bytes(self) -> int:
        return sum(map(len, self._waiting))


class FrameReader:
    """Turns a stream, however it was cut, into the frames that one role may receive.

    Attributes:
        body_bytes: Length of the body of the frame given last.
    """

    def __init__(self, receiver: Role) -> None:
        self._receivable = _RECEIVABLE[receiver]
        self._partial = bytearray()
        # Bytes that the frame begun in `_partial` needs in all; 0 while its header is not complete.
        # Without it a frame that arrives byte by byte would be copied whole for each byte.
        self._needed = 0
        self.body_bytes = 0

    def receive_untrusted(self, data: bytes | memoryview) -> Iterator[Frame]:
        """Give the frames that these bytes complete, one by one; keep the rest.

        The frames before a malformed one are given first: what happens does not depend on how the
        bytes were cut. `data` may be reused once the iterator has ended.

        Raises:
            MalformedFrame: While iterating; the stream is lost then. Nothing else is raised.
        """
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return
            data, self._partial = bytes(self._partial), bytearray()
        view = memoryview(data)
        size = len(view)
        if size >= HEADER_BYTES and HEADER_BYTES + _body_length(view, 0) == size:
            # One whole frame, as a null call brings it.
            self.body_bytes = size - HEADER_BYTES
            yield _to_frame_untrusted(_decode_untrusted(view[HEADER_BYTES:]), self._receivable)
            return
        yield from self._walk_untrusted(view)

    def _walk_untrusted(self, view: memoryview) -> Iterator[Frame]:
        # One decoder is fed once and read frame by frame: less than half of what slicing and
        # decoding each frame costs. Frames above BODY_BYTES_SMALL take the careful way.
        unpacker: msgpack.Unpacker | None = None
        start, size = 0, len(view)
        while size - start >= HEADER_BYTES:
            length = _body_length(view, start)
            end = start + HEADER_BYTES + length
            if end > size:
                self._needed = end - start
                break
            if unpacker is None:
                unpacker = _feed(view)
            self.body_bytes = length
            yield _to_frame_untrusted(_next_untrusted(unpacker, length, end), self._receivable)
            start = end
        else:
            self._needed = 0
        self._partial += view[start:]


def _body_length(view: memoryview, start: int) -> int:
    length: int = _HEADER.unpack_from(view, start)[0]
    if length > BODY_BYTES_MAX:
        raise MalformedFrame(f"a body of {length} bytes; the limit is {BODY_BYTES_MAX}")
    return length


def _feed(view: memoryview) -> msgpack.Unpacker:
    unpacker = msgpack.Unpacker(
        object_pairs_hook=_to_map,
        ext_hook=from_ext,
        strict_map_key=True,
        read_size=1024,
        max_buffer_size=max(1024, len(view)),
        **_SMALL_LIMITS,
    )
    unpacker.feed(view)
    return unpacker


def _next_untrusted(unpacker: msgpack.Unpacker, length: int, end: int) -> object:
    unpacker.read_bytes(HEADER_BYTES)
    if length > BODY_BYTES_SMALL:
        return _decode_untrusted(unpacker.read_bytes(length))
    try:
        decoded: object = unpacker.unpack()
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        raise MalformedFrame(f"a body of {length} bytes is not MessagePack: {exc}") from exc
    # A body must end where its header says: not before (trailing bytes), and not after, which would
    # make the next frame's bytes part of this one.
    if unpacker.tell() != end:
        raise MalformedFrame(f"a body of {length} bytes holds more or less than one value")
    return decoded
