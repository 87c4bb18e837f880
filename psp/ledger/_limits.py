"""Every limit of the ledger, with its reason."""

from __future__ import annotations

from typing import Final

TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
"""Hashes in a full tile. C2SP tlog-tiles fixes it at 256: "exactly 256 hashes wide, or 8,192
bytes"."""

HASH_BYTES: Final = 32
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES

TREE_SIZE_MAX: Final = (1 << 63) - 1
"""What a signed 64-bit integer holds: every language that reads a checkpoint can count so far."""

INCLUSION_HASHES_MAX: Final = 63
"""A path from leaf to root in a tree of at most 2^63 entries."""
CONSISTENCY_HASHES_MAX: Final = 64
"""The same path, and the node where it starts."""

ENTRY_BYTES_MAX: Final = 65_535
"""Entry bundles prefix each entry with 16 bits (C2SP tlog-tiles, "Log entries")."""
BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (2 + ENTRY_BYTES_MAX)

ORIGIN_BYTES_MAX: Final = 255
"""A line that people read in terminals; a host name is at most 253."""

NOTE_BYTES_MAX: Final = 128 * 1024
"""Sixteen signature lines must be accepted (C2SP signed-note), and a post-quantum one may be
nearly 5 kB, 7 kB in base64: 16 times 7 kB, and room for the text."""

SIGNATURE_LINES_MAX: Final = 100
"""C2SP signed-note asks for at least 16. Go's reader takes 100, and what one reader accepts the
other should: the ledger's own line, and more witnesses than anybody has named."""
SIGNATURE_LINE_BYTES_MAX: Final = 8 * 1024
"""The nearly 7 kB of base64 above, a name of 255 bytes, and room."""

PUBLIC_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
"""Ed25519, RFC 8032."""

TIME_S_MAX: Final = (1 << 63) - 1
"""C2SP tlog-cosignature: a timestamp "MUST NOT exceed 2^63 - 1"."""

PROOF_FILE_BYTES_MAX: Final = NOTE_BYTES_MAX + 4 * -(-ENTRY_BYTES_MAX // 3) + 64 * 64
"""A note, the longest entry in base64, 63 hashes of 45 characters, and the lines around them."""

WITNESS_LEDGERS_MAX: Final = 10_000
"""Ledgers that one witness watches. Its file is read and written whole, once for each cosignature:
at most 3.5 MB."""
WITNESS_STATE_BYTES_MAX: Final = 200 + WITNESS_LEDGERS_MAX * (ORIGIN_BYTES_MAX + 70)

JOURNAL_BYTES: Final = 1024 * 1024
"""Size of the journal, never more and never less. It bounds what is replayed on open and what is
held in memory until tiles are written. 1 MiB is fifteen entries of the largest size in one batch,
or three thousand of 300 bytes. The file is sparse: an idle journal takes one block of the disk."""

JOURNAL_AHEAD_BYTES: Final = 64 * 1024
"""How far the journal is filled with zeros ahead of a batch. Where a write first fills a hole, its
sync has to make the file's new blocks durable as well, by a commit of the file system's own
journal; where zeros were, it is the data alone (docs/ledger.md, "The journal"). So one sync in
sixty pays for the others, and an archive that is seldom asked takes 64 KiB and not a megabyte."""

PENDING_ENTRIES_MAX: Final = 16_384
"""Entries that wait in the journal for their tiles. Bytes alone are no bound on memory: an empty
entry takes 2 bytes in the journal and about 150 in Python (its hash, two lists)."""

SNAPSHOT_TRIES: Final = 8
"""How often a reader looks again when journal and checkpoint do not meet. Each miss means that the
writer published between two reads, which costs it several fsyncs; a reader needs under 1 ms."""
