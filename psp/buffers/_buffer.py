"""A result in mapped memory: filled once, then lent for reading."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from psp.errors import LocalProtocolError

from ._region import Region


class ResultBuffer:
    """One result, as far as it has come. Made by `Share.take`.

    First it is filled (`room`, `advance`), then `finish`ed, then read through leases. Its memory is
    used for another result only when this was released *and* no view of it is left anywhere, so no
    view ever shows bytes of another result.

    Attributes:
        filled_bytes: How many bytes have come.
        capacity_bytes: How many may come.
    """

    def __init__(self, window: Any, capacity: int, when_free: Callable[[], None]) -> None:
        """Make it.

        Args:
            window: The memory, an object of its own that nothing else holds; see `window_of`.
            when_free: Called once, from whatever thread, when nothing can show a byte of it any
                more. It may only leave a note.
        """
        self.filled_bytes = 0
        self.capacity_bytes = capacity
        self._is_finished = False
        # Everything that shows this memory holds this object, however it was made from a view; so
        # its end is the end of the last of them. A memoryview's own slices outlive `release`.
        weakref.finalize(window, when_free).atexit = False
        self._window: Any = window
        self._writing = memoryview(window).cast("B")

    @property
    def is_finished(self) -> bool:
        """Whether all of it has come."""
        return self._is_finished

    @property
    def is_released(self) -> bool:
        """Whether it was given back: then no new lease can be made."""
        return self._window is None

    def room(self) -> memoryview:
        """Give what is not filled yet, to write into. Empty when it is full.

        Raises:
            LocalProtocolError: It is finished or released.
        """
        if self._is_finished or self._window is None:
            raise LocalProtocolError(
                "room was asked in a result that is finished or released. Take a new buffer"
            )
        return self._writing[self.filled_bytes :]

    def advance(self, size: int) -> None:
        """Say that the next `size` bytes have been written."""
        assert 0 <= size <= self.capacity_bytes - self.filled_bytes
        self.filled_bytes += size

    def finish(self) -> None:
        """Say that nothing more comes: from now on it is only read."""
        self._is_finished = True
        self._writing.release()

    def lease(self) -> Lease:
        """Lend it for reading.

        Raises:
            LocalProtocolError: It is not finished, or released.
        """
        if self._window is None or not self._is_finished:
            state = "released" if self._window is None else "not complete"
            raise LocalProtocolError(
                f"a lease of a result was asked, and the result is {state}."
                " Lease it when it is complete and before it is released"
            )
        return Lease(memoryview(self._window).cast("B")[: self.filled_bytes].toreadonly())

    def release(self) -> None:
        """Give it back; its leases stay valid until each is released. More than once is once."""
        self._writing.release()
        self._window = None


def window_of(region: Region, capacity: int) -> Any:
    """Give an object that shows the first bytes of a region, for one buffer to hold."""
    return (ctypes.c_char * capacity).from_buffer(region.map)


class Lease:
    """The right to read a result until it is released; leaving a `with` block releases it.

    Afterwards `view` is an error, and so is every use of the view itself. Slices and arrays that
    were made of it keep showing the true bytes, and keep the memory until they go.
    """

    __slots__ = ("_view",)

    def __init__(self, view: memoryview) -> None:
        self._view: memoryview | None = view

    @property
    def view(self) -> memoryview:
        """The bytes, read-only.

        Raises:
            LocalProtocolError: The lease is over.
        """
        if self._view is None:
            raise LocalProtocolError(
                "the bytes of a result were asked, and its lease is over."
                " Copy what you need before the release, or release later"
            )
        return self._view

    @property
    def is_over(self) -> bool:
        return self._view is None

    def release(self) -> None:
        """End it. More than once is once."""
        view, self._view = self._view, None
        if view is not None:
            # An array that was made of it holds it: it goes on showing the true bytes.
            with suppress(BufferError):
                view.release()

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
