"""Our own look at an Arrow stream, before pyarrow sees a byte of it.

A stream of 584 bytes made pyarrow allocate 16 GiB, and of 20,000 mutated ones 2,011 crashed it. So
its reader is never given a stranger's message: this finds out where each column lies, and arrays
are then made of those bytes alone. The format is Arrow's "IPC streaming format" (Message.fbs and
Schema.fbs of format version 1.5); of it this takes what a query can answer, and refuses the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

from psp.errors import MalformedFrame

from ._arrow_types import ColumnType, column_type_untrusted
from ._flatbuffer import Table
from ._limits import (
    ARROW_BATCHES_MAX,
    ARROW_COLUMNS_MAX,
    ARROW_HEAD_BYTES_MAX,
    ARROW_NAME_BYTES_MAX,
)

_PREFIX: Final = Struct("<Ii")
_CONTINUES: Final = 0xFFFF_FFFF
_VERSION_5: Final = 4  # MetadataVersion.V5: since Arrow 1.0.
_SCHEMA, _RECORD_BATCH = 1, 3
_ALIGNMENT: Final = 8


class Span(NamedTuple):
    """Some bytes of the stream."""

    offset: int
    size: int


class Column(NamedTuple):
    """One column of the schema."""

    name: str
    type: ColumnType
    is_nullable: bool


class Part(NamedTuple):
    """One column of one batch: where its bytes are. Without `validity` no value is null."""

    rows: int
    validity: Span | None
    buffers: tuple[Span, ...]


class Layout(NamedTuple):
    """Where everything of a stream is.

    Attributes:
        parts: By column, then by batch.
    """

    columns: tuple[Column, ...]
    parts: tuple[tuple[Part, ...], ...]
    rows: int


def arrow_layout_untrusted(data: memoryview) -> Layout:
    """Find where the columns of an Arrow stream lie.

    Every buffer lies inside `data`, begins at a multiple of eight bytes, and is as long as its rows
    need, so nothing has to be allocated for them. What is *in* them is not looked at: a text may
    still have wrong offsets or no UTF-8.

    Raises:
        MalformedFrame: It is no whole stream, or has in it what is not taken: compression,
            dictionaries, metadata (extension types), nested or unusual types. Nothing else is
            raised.
    """
    messages = _messages_untrusted(data)
    try:
        kind, schema, body = next(messages)
    except StopIteration:
        raise MalformedFrame("an Arrow stream without a schema came; ask again") from None
    if kind != _SCHEMA or body.size:
        raise MalformedFrame("an Arrow stream begins with its schema; another message came first")
    columns = _columns_untrusted(schema)
    parts: list[list[Part]] = [[] for _ in columns]
    rows = 0
    for count, (kind, batch, body) in enumerate(messages, start=1):
        if kind != _RECORD_BATCH:
            raise MalformedFrame(
                f"message kind {kind} came in an Arrow stream; only record batches are taken,"
                " no dictionaries. Ask for the values themselves"
            )
        if count > ARROW_BATCHES_MAX:
            raise MalformedFrame(f"more than {ARROW_BATCHES_MAX} batches came; send larger ones")
        for column, part in enumerate(_parts_untrusted(batch, body, columns)):
            parts[column].append(part)
        rows += parts[0][-1].rows
    return Layout(columns, tuple(map(tuple, parts)), rows)


def _messages_untrusted(data: memoryview) -> Iterator[tuple[int, Table, Span]]:
    """Give the messages up to the end mark: the kind, the head, and where the body is."""
    position = 0
    while len(data) - position >= _PREFIX.size:
        mark, size = _PREFIX.unpack_from(data, position)
        position += _PREFIX.size
        if mark != _CONTINUES:
            raise MalformedFrame("an Arrow message does not begin with its mark")
        if size == 0:
            if position != len(data):
                raise MalformedFrame("bytes follow the end of an Arrow stream")
            return
        if not 0 < size <= min(ARROW_HEAD_BYTES_MAX, len(data) - position):
            raise MalformedFrame(f"the head of an Arrow message has {size} bytes")
        # A copy, of the head alone: what is checked cannot change any more.
        message = Table.root_untrusted(bytes(data[position : position + size]))
        position += size
        length = message.long(3)
        if message.short(0) != _VERSION_5 or message.count(4):
            raise MalformedFrame("an Arrow message of another version, or with metadata, came")
        if position % _ALIGNMENT or not 0 <= length <= len(data) - position:
            raise MalformedFrame(f"the body of an Arrow message cannot have {length} bytes here")
        yield message.byte(1), message.table(2), Span(position, length)
        position += length
    raise MalformedFrame("an Arrow stream has no end; it was cut short. Ask again")


def _columns_untrusted(schema: Table) -> tuple[Column, ...]:
    if schema.short(0) != 0:
        raise MalformedFrame("an Arrow stream in big-endian byte order came; it is not taken")
    if schema.count(2):
        raise MalformedFrame("the schema of an Arrow stream has metadata, which is not taken")
    columns = tuple(_column_untrusted(field) for field in schema.tables(1, ARROW_COLUMNS_MAX))
    if not columns:
        raise MalformedFrame("an Arrow stream without a column came: nothing bounds its rows")
    if len({column.name for column in columns}) < len(columns):
        raise MalformedFrame("two columns of an Arrow stream have the same name")
    return columns


def _column_untrusted(field: Table) -> Column:
    for number, what in ((4, "a dictionary"), (6, "metadata, as extension types have")):
        if field.has(number):
            raise MalformedFrame(f"a column came with {what}, which is not taken")
    if field.count(5):
        raise MalformedFrame("a column with columns inside came, which is not taken")
    kind = column_type_untrusted(field.byte(2), field.table(3))
    return Column(field.text(0, ARROW_NAME_BYTES_MAX), kind, bool(field.byte(1)))


def _parts_untrusted(batch: Table, body: Span, columns: Sequence[Column]) -> Iterator[Part]:
    if batch.has(3) or batch.count(4):
        raise MalformedFrame("a compressed batch, or one with views, came, which is not taken")
    rows = batch.long(0)
    nodes = batch.pairs(1, len(columns))
    needed = sum(3 if column.type.is_variable else 2 for column in columns)
    spans = iter(batch.pairs(2, needed))
    if rows < 0 or len(nodes) != len(columns) or batch.count(2) != needed:
        raise MalformedFrame("a batch does not fit its schema")
    for column, (length, nulls) in zip(columns, nodes, strict=True):
        if length != rows or not 0 <= nulls <= rows:
            raise MalformedFrame(f"a batch of {rows} rows has a column of {length}, {nulls} null")
        validity = _span_untrusted(next(spans), body, -(-rows // 8) if nulls else 0)
        yield Part(
            rows,
            validity if nulls else None,
            tuple(
                _span_untrusted(next(spans), body, least) for least in _least_bytes(column, rows)
            ),
        )


def _least_bytes(column: Column, rows: int) -> Iterator[int]:
    """Give how long each buffer of a column must be at least, without its validity."""
    if column.type.is_variable:
        yield (rows + 1) * column.type.bits // 8 if rows else 0
        yield 0  # As the offsets say; they are looked at when the column is first used.
    else:
        yield -(-rows * column.type.bits // 8)


def _span_untrusted(span: tuple[int, int], body: Span, least: int) -> Span:
    offset, size = span
    if offset < 0 or not least <= size <= body.size - offset:
        raise MalformedFrame(
            f"a buffer of {size} bytes at {offset} came in a body of {body.size}; it needs {least}"
        )
    if offset % _ALIGNMENT:
        raise MalformedFrame(f"a buffer begins at {offset}, which is no multiple of {_ALIGNMENT}")
    return Span(body.offset + offset, size)
