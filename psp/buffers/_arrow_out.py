"""Columns on their way out, from where an engine has them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

from psp.errors import LocalProtocolError

from ._columns import import_pyarrow
from ._limits import ARROW_JOINED_BYTES_MAX

Piece: TypeAlias = bytes | memoryview


class _Sink:
    """What an Arrow writer writes to: column buffers stay where they are, small words are joined.

    pyarrow writes the heads as bytes and each column as a `Buffer` that shows the engine's memory.
    """

    closed = False

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self._small = bytearray()

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if view.nbytes < ARROW_JOINED_BYTES_MAX:
            self._small += view
        else:
            self._flush_small()
            self._pieces.append(view.cast("B"))
        return view.nbytes

    def take(self) -> list[Piece]:
        """Give what was written since this was last asked."""
        self._flush_small()
        pieces, self._pieces = self._pieces, []
        return pieces

    def flush(self) -> None:
        """Nothing waits here for anybody."""

    def close(self) -> None:
        self.closed = True

    def _flush_small(self) -> None:
        if self._small:
            self._pieces.append(bytes(self._small))
            self._small.clear()


def arrow_pieces(source: Any) -> Generator[list[Piece], None, None]:
    """Give an Arrow stream in pieces, batch by batch, without copying a column.

    A batch is asked for when the one before has been taken, so an engine that computes as it is
    read never runs ahead. Metadata are left out: no reader takes them.

    Args:
        source: A `pyarrow.Table`, `RecordBatch` or `RecordBatchReader`, or whatever has
            `__arrow_c_stream__`.

    Raises:
        MissingExtra: pyarrow is not installed.
        LocalProtocolError: A column is of a type that no reader takes.
    """
    arrow = import_pyarrow()
    reader = source
    if not isinstance(source, arrow.RecordBatchReader):
        reader = arrow.RecordBatchReader.from_stream(source)
    schema = arrow.schema([field.remove_metadata() for field in reader.schema])
    for field in schema:
        if arrow.types.is_nested(field.type) or arrow.types.is_dictionary(field.type):
            raise LocalProtocolError(
                f"the column {field.name!r} is of type {field.type}, which no reader takes."
                " Cast it to a number, a text or a time"
            )
    sink = _Sink()
    with arrow.ipc.new_stream(arrow.PythonFile(sink, "w"), schema) as writer:
        for batch in reader:
            writer.write_batch(arrow.RecordBatch.from_arrays(batch.columns, schema=schema))
            yield sink.take()
    yield sink.take()
