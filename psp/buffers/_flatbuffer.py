"""A stranger's flatbuffer, read without trusting one of its offsets.

The layout is that of the page on FlatBuffers' internals (flatbuffers.dev/internals): a table begins
with the distance back to its vtable, and a vtable says where each field stands.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from psp.errors import MalformedFrame

_BYTE: Final = Struct("<B")
_SHORT: Final = Struct("<h")
_USHORT: Final = Struct("<H")
_INT: Final = Struct("<i")
_UINT: Final = Struct("<I")
_LONG: Final = Struct("<q")
_PAIR: Final = Struct("<qq")


class Table:
    """One table. Every number that leads somewhere is compared with the bytes there are.

    Raises:
        MalformedFrame: It leads out of them. Nothing else is raised.
    """

    __slots__ = ("_data", "_position", "_vtable", "_vtable_size")

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position
        self._vtable = position - self._read(_INT, position)
        self._vtable_size = self._read(_USHORT, self._vtable)
        if self._vtable_size < 4 or self._vtable + self._vtable_size > len(data):
            raise _outside()

    @classmethod
    def root_untrusted(cls, data: bytes) -> Table:
        """Give the table that a flatbuffer is."""
        if len(data) < _UINT.size:
            raise _outside()
        return cls(data, _UINT.unpack_from(data)[0])

    def byte(self, field: int, default: int = 0) -> int:
        return self._number(_BYTE, field, default)

    def short(self, field: int, default: int = 0) -> int:
        return self._number(_SHORT, field, default)

    def int32(self, field: int, default: int = 0) -> int:
        return self._number(_INT, field, default)

    def long(self, field: int, default: int = 0) -> int:
        return self._number(_LONG, field, default)

    def has(self, field: int) -> bool:
        """Whether the field is there at all."""
        return self._place(field) is not None

    def table(self, field: int) -> Table:
        """Give the table that a field leads to; it must be there."""
        place = self._place(field)
        if place is None:
            raise MalformedFrame(f"field {field} of an Arrow message is missing")
        return Table(self._data, self._follow(place))

    def text(self, field: int, bytes_max: int) -> str:
        """Give a text; empty if the field is not there."""
        start, count = self._vector(field, 1, bytes_max)
        try:
            return str(self._data[start : start + count], "utf-8")
        except UnicodeDecodeError as exc:
            raise MalformedFrame("a text of an Arrow message is not UTF-8") from exc

    def tables(self, field: int, count_max: int) -> list[Table]:
        """Give the tables of a vector."""
        start, count = self._vector(field, _UINT.size, count_max)
        places = range(start, start + count * _UINT.size, _UINT.size)
        return [Table(self._data, self._follow(place)) for place in places]

    def pairs(self, field: int, count_max: int) -> list[tuple[int, int]]:
        """Give a vector of structs that are two 64-bit integers each."""
        start, count = self._vector(field, _PAIR.size, count_max)
        return list(_PAIR.iter_unpack(self._data[start : start + count * _PAIR.size]))

    def count(self, field: int) -> int:
        """Give the length of a vector, whatever it holds; 0 if it is not there."""
        place = self._place(field)
        return 0 if place is None else self._read(_UINT, self._follow(place))

    def _place(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._vtable_size:
            return None
        offset = self._read(_USHORT, self._vtable + entry)
        return self._position + offset if offset else None

    def _number(self, form: Struct, field: int, default: int) -> int:
        place = self._place(field)
        return default if place is None else self._read(form, place)

    def _follow(self, place: int) -> int:
        return place + self._read(_UINT, place)

    def _vector(self, field: int, item_bytes: int, count_max: int) -> tuple[int, int]:
        place = self._place(field)
        if place is None:
            return 0, 0
        start = self._follow(place)
        count = self._read(_UINT, start)
        start += _UINT.size
        if count > count_max:
            raise MalformedFrame(f"an Arrow message lists {count} things; the limit is {count_max}")
        if start + count * item_bytes > len(self._data):
            raise _outside()
        return start, count

    def _read(self, form: Struct, place: int) -> int:
        # A negative place would count from the end.
        if place < 0 or place + form.size > len(self._data):
            raise _outside()
        number: int = form.unpack_from(self._data, place)[0]
        return number


def _outside() -> MalformedFrame:
    return MalformedFrame("an Arrow message leads out of its own bytes")
