"""Every limit of result buffers, with its reason."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB

GRAIN_BYTES: Final = 64 * KIB
"""The smallest mapping. A smaller result is cheaper as one `bytes`, and a mapping costs a file
descriptor, of which a process often has 1,024."""

SIZES_PER_DOUBLING: Final = 4
"""Mappings come in this many sizes between one power of two and the next, so that a used one fits
again soon, and at most a quarter of it is too much."""

MEMORY_BYTES_MAX: Final = 1 * GIB
"""The largest result that is kept in memory. One above it lies in a spool file, if a disk was
chosen, and is refused if none was."""

CONNECTION_BYTES_MAX: Final = 2 * GIB
"""What the results of one connection may hold: two of the largest, one read while one comes."""

TENANT_BYTES_MAX: Final = 4 * GIB
"""What one tenant may hold over all of its connections: as much as two of them."""

PROCESS_BYTES_MAX: Final = 8 * GIB
"""What one process may hold. Mappings are touched as bytes come, so a promise that is never kept
costs addresses and no memory; this is half of the memory of a small server."""

KEPT_BYTES_MAX: Final = 512 * MIB
"""Used mappings that wait to be used again, for each tenant. The first touch of 256 MiB costs 44 to
58 ms in a virtual machine, and a used mapping 8: the next result of the usual size finds one."""

ARROW_HEAD_BYTES_MAX: Final = 4 * MIB
"""The head of one Arrow message: 4,096 columns with names of 100 characters need a quarter."""

ARROW_COLUMNS_MAX: Final = 4_096
"""Columns of one result, as many as a map of a frame may have keys."""

ARROW_NAME_BYTES_MAX: Final = 1 * KIB
"""The name of a column. Spreadsheets have whole sentences as headings."""

ARROW_BATCHES_MAX: Final = 65_536
"""Batches of one result: at DuckDB's 122,880 rows each, eight billion rows."""

ARROW_JOINED_BYTES_MAX: Final = 32 * KIB
"""Up to here what an Arrow writer writes is joined: it says much in four bytes, and a piece of its
own costs a chunk of its own."""
