"""A result in columns, read where it landed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psp.errors import MalformedFrame, MissingExtra

from ._arrow_check import Column, Part, arrow_layout_untrusted
from ._buffer import ResultBuffer


class Columns:
    """The columns of an Arrow stream that landed in a result buffer; nothing of it is copied.

    A column is validated when it is first used: that costs nothing for numbers, and 3 to 12 ns for
    each text. Leaving a `with` block releases the result. Tables and arrays that were made before
    keep showing the true bytes, and keep the memory until they go.

    Attributes:
        names: The columns, in their order.
        row_count: How many rows there are.
    """

    def __init__(self, buffer: ResultBuffer) -> None:
        """Look at a complete result; only its heads are read.

        Raises:
            MalformedFrame: It is no Arrow stream, or has in it what is not taken: compression,
                dictionaries, metadata, nested types.
            MissingExtra: pyarrow is not installed.
        """
        self._arrow = import_pyarrow()
        self._buffer = buffer
        lease = buffer.lease()
        try:
            self._layout = arrow_layout_untrusted(lease.view)
        except BaseException:
            lease.release()
            raise
        self._lease = lease
        self._columns: dict[str, Any] = {}
        self.names = tuple(column.name for column in self._layout.columns)
        self.row_count = self._layout.rows

    def column(self, name: str) -> Any:
        """Give a column as `pyarrow.ChunkedArray`, validated.

        Raises:
            KeyError: There is none of this name.
            MalformedFrame: What is in it is not what its type says.
            LocalProtocolError: The result was released.
        """
        self._lease.view  # noqa: B018  # Says so if it is over.
        if name not in self._columns:
            try:
                index = self.names.index(name)
            except ValueError:
                raise KeyError(f"no column {name!r}; there are {', '.join(self.names)}") from None
            self._columns[name] = self._validated(index)
        return self._columns[name]

    def arrow(self) -> Any:
        """Give the result as `pyarrow.Table`, every column of it validated; raises as `column`."""
        columns = [self.column(name) for name in self.names]
        return self._arrow.Table.from_arrays(columns, schema=self._arrow.schema(self._fields()))

    def numpy(self, name: str) -> Any:
        """Give a column as a numpy array; raises as `column`.

        Without a copy if it is of numbers, without nulls and in one batch; else numpy needs its
        values side by side.
        """
        chunks = self.column(name).chunks
        if len(chunks) == 1 and not chunks[0].null_count:
            return chunks[0].to_numpy(zero_copy_only=False)
        return self.column(name).to_numpy()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give the rows one by one, as Python values; raises as `column`."""
        for batch in self.arrow().to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Give the result to pandas, polars, DuckDB and others, without a copy of ours.

        What each of them copies then is in docs/zero-copy.md.
        """
        return self.arrow().__arrow_c_stream__(requested_schema)

    def release(self) -> None:
        """Give the result back; more than once is once."""
        self._columns.clear()
        self._lease.release()
        self._buffer.release()

    def __enter__(self) -> Columns:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _fields(self) -> list[Any]:
        return [
            self._arrow.field(column.name, self._type(column), column.is_nullable)
            for column in self._layout.columns
        ]

    def _type(self, column: Column) -> Any:
        return getattr(self._arrow, column.type.name)(*column.type.parameters)

    def _validated(self, index: int) -> Any:
        column = self._layout.columns[index]
        kind = self._type(column)
        # A view of its own: the lease may end while arrays live.
        whole = self._arrow.py_buffer(memoryview(self._lease.view))
        try:
            arrays = [self._array(kind, part, whole) for part in self._layout.parts[index]]
            for array in arrays:
                array.validate(full=True)
        except self._arrow.ArrowInvalid as exc:
            # Its own words quote values.
            raise MalformedFrame(
                f"the column {column.name!r} holds bytes that are no {column.type.name};"
                " ask again, and tell the archive's operator"
            ) from exc
        return self._arrow.chunked_array(arrays, kind)

    def _array(self, kind: Any, part: Part, whole: Any) -> Any:
        spans = (part.validity, *part.buffers)
        buffers = [None if span is None else whole.slice(span.offset, span.size) for span in spans]
        # -1: pyarrow counts the nulls itself.
        nulls = 0 if part.validity is None else -1
        return self._arrow.Array.from_buffers(kind, part.rows, buffers, nulls)


def import_pyarrow() -> Any:
    """Give pyarrow.

    Raises:
        MissingExtra: It is not installed.
    """
    try:
        import pyarrow
    except ImportError as exc:
        raise MissingExtra(
            "reading a result in columns", library="pyarrow", extra="columns"
        ) from exc
    return pyarrow
