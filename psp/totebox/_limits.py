"""Limits of the archive's reads, with their reasons."""

from __future__ import annotations

from typing import Final

from psp.wire import BODY_BYTES_MAX

STATEMENT_IN_ENTRY_BYTES_MAX: Final = 2_048
"""What an owner says stands in its ledger entry, in hexadecimal: all but an anchor statement with
rotations has less. A longer one is named by its hash."""

TOKENS_REMEMBERED_MAX: Final = 64
"""Tokens that one connection has verified and need not verify again, some 12 KiB each. One
connection serves one tenant, who holds a handful; each is shown again when a console renews it."""

READS_BATCH_MAX: Final = 1_024
"""Reads that share one sync of the audit. An entry takes up to 600 bytes, so a batch fills at most
0.6 of the ledger's journal of 1 MiB, which must hold a batch whole."""

READS_WAITING_MAX: Final = 4_096
"""Reads whose entries wait to be written: four batches, some 4 MiB with their callers. Behind a
disk that is slower than this, waiting longer only makes every answer later."""

READS_PER_S: Final = 500.0
"""Reads of one grant, over time. 500 entries of 400 bytes are 17 GB of audit a day: no person reads
so fast, and a program that does is to ask one question instead of many rows. Counted for the
grant's first link: a holder can narrow a grant as often as it likes, and gains nothing by it."""

READS_BURST: Final = 5_000.0
"""Reads of one grant at once, after a pause: ten seconds' worth. A page of rows is a few
hundred."""

GRANTS_COUNTED_MAX: Final = 4_096
"""First links whose reads are counted, under 1 MiB. Only the owner issues those, and one that reads
nothing for ten seconds is forgotten without loss."""

FREE_BYTES_MIN: Final = 64 * 1024 * 1024
"""Room on the disk below which nothing is read. An audit that ran into a full disk would have to be
restarted by hand; this is over a hundred thousand entries away from it."""

FREE_LOOKED_AT_S: Final = 0.1
"""How long what the disk had free is believed: asking at every read takes a thirtieth of it, and in
so short a time no archive writes a tenth of the room above."""

UNSEALED_S_MAX: Final = 1.0
"""How long an answer may be ahead of its entry under `within-1s`. It is in the policy's name."""

SEAL_AFTER_S: Final = 0.5
"""When the entries of `within-1s` are written: half of the second is left for the disk."""

DISK_S_MAX: Final = 0.002
"""How long a batch of reads may take to become durable while everything else in the loop waits for
it: twice as long as one connection may keep an archive to itself (`psp.endpoint`, INLINE_S_MAX). A
solid-state disk syncs in 0.05 to 0.3 ms, a virtual one in 0.2 to 1 ms; one that turns takes 8."""

QUICK_WAITS_MIN: Final = 8
"""How many such waits in a row make the loop wait itself, as many as make it look before it
sleeps."""

SURPRISE_SHARE: Final = 0.1
"""What of its time a loop may lose to waits that were longer than they should have been: after one
of 50 ms a thread waits for the next half second, however quick the disk is again. A hundredth would
send it there for most of the time on a virtual disk that needs 5 ms once in a hundred syncs."""

RESULT_BYTES_MAX: Final = BODY_BYTES_MAX
"""A result up to here fits one RETURN, and its hash goes into its entry. A longer one travels as a
stream, which is hashed only where that is asked for."""

RECENT_READS_MAX: Final = 1_024
"""Reads whose places a reference to a grant can tell, newest last: 8 KiB for each reference."""

READ_ENTRY_BYTES_MAX: Final = 4_096
"""An entry is some 400 bytes. A receipt comes from a stranger, and its JSON is parsed."""

PACKED_FILES_MAX: Final = 1_000_000
"""Files of a packed archive: 100,000 originals and the tiles of 100 million entries are fewer. Each
costs a sync when it is unpacked."""

PACKED_BYTES_MAX: Final = 1 << 40
"""Bytes of a packed archive, 1 TiB: more than a machine that holds one archive has. It is counted
from what headers say, before anything is written."""

PACKED_NAME_BYTES_MAX: Final = 255
"""The longest name in an archive, of a tile, has 50 bytes."""

CLOCK_BACK_S_MAX: Final = 60
"""How far the clock may stand behind the latest time it ever showed. Clocks that are kept are set
back by less than a second; more than this, and grants that are over would live again."""

STATE_SAVED_EVERY_S: Final = 30
"""How often the clock's mark and what others saw of the ledger become durable. A crash loses so
much of the mark, which is half of what it may be behind."""

REVOCATIONS_MAX: Final = 16_384
"""Grants and keys taken back at a time, some 4 MiB. Each is forgotten when what it is about has
ended, within days; whoever has more to take back raises the epoch, which takes back everything."""

FORGOTTEN_AFTER_S: Final = 2 * CLOCK_BACK_S_MAX
"""What has ended is kept this much longer: the clock may be behind by half of it."""

BUDGET_BLOCKS_OF_LIMIT: Final = 16
"""A budget is taken in sixteenths: a crash costs a holder at most one, and sixteen uses or more
share a sync."""

BUDGET_LINES_OF_GRANT_MAX: Final = 4_096
"""Budgets under one first link, some 1 MiB: a holder can narrow a grant as often as it likes, with
a budget in each link, and each has to be remembered until it ends."""

LEDGER_ROOTS_KEPT: Final = 64
"""Sizes of the ledger whose roots were compared lately: signers that are in touch name the same
few."""

DUCKDB_MEMORY: Final = "512MB"
"""What one index in DuckDB may hold in memory; DuckDB itself would take four fifths of the machine,
for each archive on it. What does not fit goes to a file beside the index."""

CHANGE_S_MAX: Final = 24 * 3600.0
"""How long a command waits for a change of a served archive: as long as a call may be given. A file
of a hundred gigabytes takes hours, and its sender can stop waiting at any time."""

TOLD_APART_MAX: Final = 32
"""Floors up to which 64 bits tell whether a group surely has enough subjects: 44 set 32 of them."""

NARROWED_MAX: Final = 256
"""Groups up to which a question about some of them names their keys. A longer list costs each row
more than it spares."""

SEALED_BYTES_MAX: Final = 1024 * 1024 * 1024
"""What results that are sealed for readers on this machine may hold at one time. Whoever comes when
it is used up gets his result over the network, batch by batch."""

LOADED_BYTES: Final = 4 * 1024 * 1024
"""What of a document is brought into memory at a time: a hop to the thread that waits for the disk
costs 30 µs, and these bytes 1.5 ms to send."""

CELLS_MAX: Final = 100_000
"""Groups that one query may make in memory, before disclosure control: about 100 MiB of Python."""

SCANS_AT_ONCE_MAX: Final = 4
"""Questions of one machine that are computed at once, where no other machine asks: more would take
the same processors in smaller slices. Beside others each machine has one."""

TABLES_OPEN_MAX: Final = 128
"""Tables that one peer may have open, over all its connections and grants. Each is one or two files
and 200 KiB; a process has 1,024 files, and where they are gone nobody can connect any more."""

ASSET_RANGE_BYTES_MAX: Final = 192 * 1024
"""Bytes of a document in one call: with its names around it, a range fits one RETURN, so that the
record of reads has the hash of what was shown."""

TAGS_MAX: Final = 4_096
"""Rows that one comparison may ask for by their tags: more differences are a table, not a list."""

COMMAND_KEPT_S: Final = 24 * 3600
"""How long a command may be tried again under its key: a day, as long as the grant under which it
was first tried. Afterwards the key is refused, so what is forgotten is not done twice."""

COMMAND_AHEAD_S: Final = 30
"""How far the clock of whoever commands may run ahead: as for the start of a grant."""

COMMANDS_REMEMBERED_MAX: Final = 4_096
"""Commands of one holder that are remembered at a time: one in 21 seconds, all day long."""

COMMANDS_SCANNED_AT_A_TIME: Final = 1_024
"""Entries of the ledger that are read at once to find commands among them: 4 MiB of short ones."""

APPEND_BYTES_MAX: Final = 192 * 1024
"""Bytes of a file that a call brings: with its names around it, it fits one CALL. A larger one is
sealed where the archive is, by `psp archive`."""

NAME_OF_FILE_BYTES_MAX: Final = 200
"""Bytes of such a file's name: what a directory takes, less what is put before and behind it."""

FINDINGS_RECORDED_MAX: Final = 32
"""Findings of an audit that stand in its entry; an archive with more is damaged as a whole."""

FINDING_CHARACTERS_MAX: Final = 300
"""Of each such finding. 32 of them make 40 KB at most, and an entry holds 65,535 bytes."""

REFUSAL_CHARACTERS_MAX: Final = 600
"""Of why a command was refused: a file's first refused rows, and what to do."""

SPOOL_MEMORY_BYTES: Final = 1024 * 1024
"""A column of numbers that the account of answers keeps in memory. A longer one is in a file: of
ten million rows, three columns would take what a whole archive may."""

SPOOL_CHUNK_ROWS: Final = 1 << 18
"""Rows that the account of answers looks at together: 2 MiB in the longest numbers, which stay in
a processor's cache, and so few pieces that calling numpy costs a thousandth of it."""

ROWS_READ_AT_ONCE: Final = 1 << 16
"""Rows of an index that are read at a time: some MiB in columns."""

OBJECTS_AT_ONCE: Final = 1 << 11
"""Rows that are Python's objects at a time: half a MiB, which stays in a processor's cache."""

WORDS_MAX: Final = 100_000
"""Different texts of a column of which each row has a number: as many as an answer may have groups.
A column with more is kept as the texts themselves."""

WORDS_BYTES_MAX: Final = 16 * 1024 * 1024
"""What those texts may take: a few long ones are as much as many short ones."""

NUMBERED_AT_ONCE: Final = 1 << 19
"""Rows among which equal subjects are looked for at a time: some 40 MiB. More are told apart by a
hash first."""

REFUSALS_LOGGED_S: Final = 60.0
REFUSALS_LOGGED_MAX: Final = 60
"""Refusals of one peer that are written in that time; the others are counted in one line. All that
`psp attack` tries are fewer. Refusing takes 0.1 ms: a paired machine that does nothing else could
write a megabyte a second into the owner's log."""
