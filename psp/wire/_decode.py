"""Bytes to frames, in one step, with one exception."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple, cast

import msgpack

from psp.errors import MalformedFrame
from psp.values import Value, from_ext

from ._fields import TARGET
from ._frames import CHUNK, Frame, FrameShape, Places, Role, receivable_by
from ._layout import (
    CHUNK_HEAD_BYTES,
    CHUNK_HEADER,
    HEADER,
    HEADER_BYTES,
    KIND_END,
    PROMISED_EXT,
)
from ._limits import (
    BODY_BYTES_MAX,
    BODY_BYTES_SMALL,
    CHUNK_HEADER_BYTES,
    ID_MAX,
    MAP_KEYS_MAX,
    NODES_MAX,
    PROMISED_BYTES_MAX,
)
from ._repeats import repeats_untrusted
from ._value import Promised, ValueFault, check_value

_FED_BYTES_MAX: Final = 4 * 1024
"""A chunk up to here is read through the decoder that was fed with its neighbours; a larger one is
cut out, and what follows it is fed anew. Feeding after each small one would be quadratic."""

_REPEAT_TRIES: Final = 2
"""How often repeats are looked for in vain in what came together, before they are not any more.
A look costs a tenth of what reading a frame does."""


def _to_map(pairs: list[tuple[str, object]]) -> dict[str, object]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        raise ValueError("a map has a key twice")
    return decoded


# Lengths are bounded by the nodes of a frame. Keys are text or bytes here (`strict_map_key` is the
# library's default); `check_value` then refuses bytes. Text is UTF-8 without surrogates.
_LIMITS: Final = {"max_array_len": NODES_MAX, "max_map_len": MAP_KEYS_MAX}
_SMALL_LIMITS: Final = {"max_array_len": BODY_BYTES_SMALL, "max_map_len": BODY_BYTES_SMALL}


def _from_ext(code: int, data: bytes) -> object:
    if code != PROMISED_EXT:
        return from_ext(code, data)
    if len(data) > PROMISED_BYTES_MAX:
        raise ValueError(f"the name of an answer has {len(data)} bytes")
    target = msgpack.unpackb(data, **_SMALL_LIMITS)
    if not TARGET.accepts(target):
        raise ValueError(f"the name of an answer must be: {TARGET.words}")
    return Promised(target)


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
                body, object_pairs_hook=_to_map, ext_hook=_from_ext, **_LIMITS
            )
        else:
            # No container is longer than the body, if none is told otherwise.
            decoded = msgpack.unpackb(body, object_pairs_hook=_to_map, ext_hook=_from_ext)
    except (ValueError, TypeError, msgpack.UnpackException) as exc:
        raise _not_msgpack(len(body), exc) from exc
    return decoded


class _Receivable(NamedTuple):
    """What one role may receive: the shortcut of its commonest kind, and the rows by kind."""

    is_plain: Callable[[object], bool]
    rows: Mapping[int, FrameShape]


def _receivable(role: Role) -> _Receivable:
    rows = receivable_by(role)
    [is_plain] = [shape.is_plain for shape in rows.values() if shape.is_plain is not None]
    return _Receivable(is_plain, rows)


_RECEIVABLE: Final[Mapping[Role, _Receivable]] = {role: _receivable(role) for role in Role}


def _checked(decoded: object, rows: Mapping[int, FrameShape]) -> Places:
    """Compare what was decoded with the row of its kind, field by field."""
    if type(decoded) is not list or not decoded or type(decoded[0]) is not int:
        raise MalformedFrame("a body is one list that starts with the frame's kind")
    shape = rows.get(decoded[0])
    if shape is None or shape.kind == CHUNK:
        raise MalformedFrame(f"frame kind {decoded[0]} cannot be received here")
    places = len(shape.fields) + 1
    if len(decoded) != places:
        raise MalformedFrame(f"{shape.name} has {places} places, not {len(decoded)}")
    try:
        for place, (name, field) in enumerate(shape.fields, start=1):
            if not field.accepts(decoded[place]):
                raise MalformedFrame(f"{shape.name}.{name} must be: {field.words}")
    except ValueFault as exc:
        raise MalformedFrame(f"{shape.name} holds {exc}") from exc
    if shape.agrees is not None and not shape.agrees(decoded):
        raise MalformedFrame(f"the fields of this {shape.name} contradict each other")
    return decoded


def _chunk_untrusted(body: bytes, rows: Mapping[int, FrameShape]) -> Places:
    if CHUNK not in rows:
        raise MalformedFrame("a CHUNK cannot be received here")
    if len(body) <= CHUNK_HEADER_BYTES:
        raise MalformedFrame(f"a CHUNK of {len(body)} bytes holds no data")
    _, question = CHUNK_HEADER.unpack_from(body)
    if not 0 < question <= ID_MAX:
        raise MalformedFrame("CHUNK.question must be: integer, 1 to 2⁶³-1")
    return [CHUNK, question, body[CHUNK_HEADER_BYTES:]]


def _places_untrusted(body: bytes, receivable: _Receivable) -> Places:
    if body[:1] == b"\xc1":
        return _chunk_untrusted(body, receivable.rows)
    decoded = _decode_untrusted(body)
    if receivable.is_plain(decoded):
        return cast(Places, decoded)
    return _checked(decoded, receivable.rows)


def decode_body_untrusted(body: bytes | memoryview, *, receiver: Role) -> Frame:
    """Turn one frame body from a peer into a frame that `receiver` may receive.

    Raises:
        MalformedFrame: For any bytes that are not exactly one such frame. Nothing else is raised.
    """
    if len(body) > BODY_BYTES_MAX:
        raise _too_long(len(body))
    receivable = _RECEIVABLE[receiver]
    places = _places_untrusted(bytes(body), receivable)
    return receivable.rows[places[0]].make(places)


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


class FrameReader:
    """Turns a stream, however it was cut, into the frames that one role may receive.

    Attributes:
        body_bytes: Length of the body of the frame given last.
        landing: Streams whose data the shell reads to where they are wanted. Of their chunks only
            what came together with the head is given.
        chunk_left: The stream of such a chunk, and how many bytes of its data come next; they must
            not be given to `receive_untrusted`.
    """

    def __init__(self, receiver: Role) -> None:
        self._receivable = _RECEIVABLE[receiver]
        self._partial = bytearray()
        # Bytes that the frame begun in `_partial` needs in all; 0 while its header is not complete.
        # Without it a frame that arrives byte by byte would be copied whole for each byte.
        self._needed = 0
        self.body_bytes = 0
        self.landing: set[int] = set()
        self.chunk_left: tuple[int, int] | None = None
        self._begun = 0

    @property
    def partial_frame(self) -> int:
        """Names the frame that has begun and is not complete; 0 if there is none. The same name
        at two times is the same frame."""
        return self._begun if self._partial else 0

    @property
    def asked_bytes(self) -> int:
        """How many bytes to read next at most, so that no data of a landing stream come with them;
        0 if it does not matter."""
        if not self.landing:
            return 0
        needed = self._needed if self._partial else 0
        return max((needed or CHUNK_HEAD_BYTES) - len(self._partial), 1)

    def landed(self, size: int) -> None:
        """So many of the bytes that `chunk_left` names have been read past this."""
        assert self.chunk_left is not None
        question, left = self.chunk_left
        assert 0 < size <= left
        self.chunk_left = (question, left - size) if size < left else None

    def receive_untrusted(self, data: bytes | memoryview) -> Iterable[Places]:
        """Give the frames that these bytes complete, one by one; keep the rest.

        The frames before a malformed one are given first: what happens does not depend on how the
        bytes were cut. `data` may be reused at once; the iterable must be exhausted.

        Raises:
            MalformedFrame: At once, or while iterating; the stream is lost then. Nothing else is
                raised.
        """
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return ()
            data, self._partial, self._needed = bytes(self._partial), bytearray(), 0
        else:
            data = bytes(data)
        size = len(data)
        if size >= HEADER_BYTES and HEADER_BYTES + _body_length(data) == size:
            # One whole frame, as a null call brings it.
            self.body_bytes = size - HEADER_BYTES
            return (_places_untrusted(data[HEADER_BYTES:], self._receivable),)
        return self._walk_untrusted(data)

    def _walk_untrusted(self, data: bytes) -> Iterator[Places]:
        # One decoder is fed once and read frame by frame: less than half of what slicing and
        # decoding each frame costs. What is not a short control frame takes the careful way.
        unpacker: msgpack.Unpacker | None = None
        start = base = 0
        size = len(data)
        tries = _REPEAT_TRIES
        is_plain, rows = self._receivable
        length_at = HEADER.unpack_from
        try:
            while size - start >= HEADER_BYTES:
                length: int = length_at(data, start)[0]
                end = start + HEADER_BYTES + length
                if length > BODY_BYTES_MAX:
                    raise _too_long(length)
                if end > size:
                    self._needed = end - start
                    landed = self._begin_chunk_untrusted(data, start, end) if self.landing else None
                    if landed is not None:
                        start = size
                        yield landed
                    break
                self.body_bytes = length
                is_chunk = length and data[start + HEADER_BYTES] == CHUNK
                if is_chunk and length > _FED_BYTES_MAX:
                    unpacker = None
                    places = _chunk_untrusted(data[start + HEADER_BYTES : end], rows)
                else:
                    if unpacker is None:
                        base, unpacker = start, _feed(data[start:])
                    unpacker.read_bytes(HEADER_BYTES)
                    if is_chunk or length > BODY_BYTES_SMALL:
                        places = _places_untrusted(unpacker.read_bytes(length), self._receivable)
                    else:
                        places = unpacker.unpack()
                        # A body must end where its header says: not before (trailing bytes), and
                        # not after, which would make the next frame's bytes part of this one.
                        if unpacker.tell() != end - base:
                            raise MalformedFrame(f"a body of {length} bytes is not one value")
                        if not is_plain(places):
                            places = _checked(places, rows)
                        elif tries and data.startswith(data[start : start + KIND_END], end):
                            numbers = repeats_untrusted(data, start, end)
                            tries += 1 if numbers else -1
                            if numbers:
                                unpacker.read_bytes(len(numbers) * (end - start))
                                end += len(numbers) * (end - start)
                                start = end
                                yield places
                                kind, _, *others = places
                                for number in numbers:
                                    yield [kind, number, *others]
                                continue
                start = end
                yield places
        except (ValueError, TypeError, msgpack.UnpackException) as exc:
            raise _not_msgpack(length, exc) from exc
        if start < size:
            self._begun += 1
            self._partial += data[start:]

    def _begin_chunk_untrusted(self, data: bytes, start: int, end: int) -> Places | None:
        """Give the beginning of a chunk whose other data the shell reads itself, if it is one."""
        size = len(data)
        if data[start + HEADER_BYTES : start + HEADER_BYTES + 1] not in (b"", b"\xc1"):
            return None
        if size - start < CHUNK_HEAD_BYTES or end - start <= CHUNK_HEAD_BYTES:
            self._needed = min(end - start, CHUNK_HEAD_BYTES)
            return None
        question = CHUNK_HEADER.unpack_from(data, start + HEADER_BYTES)[1]
        if question not in self.landing:
            return None
        self.chunk_left, self._needed = (question, end - size), 0
        return [CHUNK, question, data[start + CHUNK_HEAD_BYTES :]]


def _body_length(data: bytes) -> int:
    length: int = HEADER.unpack_from(data)[0]
    if length > BODY_BYTES_MAX:
        raise _too_long(length)
    return length


def _too_long(length: int) -> MalformedFrame:
    return MalformedFrame(f"a body of {length} bytes; the limit is {BODY_BYTES_MAX}")


def _not_msgpack(length: int, why: Exception) -> MalformedFrame:
    # The decoder says ValueError to bad UTF-8, trailing bytes, depth and lengths, and has a family
    # of its own for bytes that end too early.
    return MalformedFrame(f"a body of {length} bytes is not MessagePack: {why}")


def _feed(data: bytes) -> msgpack.Unpacker:
    unpacker = msgpack.Unpacker(
        object_pairs_hook=_to_map,
        ext_hook=_from_ext,
        read_size=1024,
        max_buffer_size=max(1024, len(data)),
        **_SMALL_LIMITS,
    )
    unpacker.feed(data)
    return unpacker
