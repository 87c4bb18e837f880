"""Every limit of the shell, with its reason. The limits of the frames are in psp.wire."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024

HANDSHAKE_S_MAX: Final = 10.0
"""A TLS 1.3 handshake is one round trip; ten seconds cover a satellite link that lost two
packets."""

HANDSHAKES_MAX: Final = 64
"""Handshakes under way at one listener, before anybody is known. When one more machine dials, the
oldest is cut off: a paired machine needs one round trip, so a silent stranger loses his place long
before he is in its way. 64 x about 80 KiB is 5 MiB, the most that strangers can pin."""

CONNECTIONS_PER_PEER_MAX: Final = 256
"""Open connections of one paired machine: one per tenant of an aggregator, with room."""

REFUSAL_DRAIN_S: Final = 1.0
REFUSAL_DRAIN_BYTES_MAX: Final = 64 * KIB
"""What we read from a refused machine after the alert. Closing while its first flight is still in
the air makes the kernel send RST, which throws the alert away unread (2 of 60 tries; 0 of 60 with
the drain), and the machine would call us unreachable instead of not paired."""

RECEIVE_BYTES: Final = 256 * KIB
"""The receive buffer, shared by all connections of one trio run: one frame of the largest size, and
sixteen TLS records. A buffer for each connection would make an idle one cost 596 KiB, not 76."""

SEALED_BYTES: Final = 96 * KIB
"""How much ciphertext passes between the kernel and OpenSSL at once: six records. A connection
that has carried a large result keeps 119 KiB to receive and 103 KiB to send. Pieces of 32 KiB are
slower, those of 192 KiB no faster."""

TLS_RECORD_BYTES: Final = 16 * KIB
"""RFC 8446, section 5.1: a read returns at most one record, whatever it was asked for."""

SEALED_RECORD_BYTES: Final = TLS_RECORD_BYTES + 22
"""Such a record on its way: with a header of 5 bytes, its type, and a tag of 16 (section 5.2)."""

UNSENT_BYTES_MAX: Final = 1024 * KIB
"""Our own frames that wait for the kernel. Above it we stop reading, so that a peer that asks and
never reads cannot fill our memory with answers."""

UNREAD_S_MAX: Final = 30.0
"""How long a peer may leave our bytes unread before it is disconnected."""

NOTSENT_LOWAT_BYTES: Final = 128 * KIB
"""What the kernel may hold unsent: a small answer waits behind at most this much of a large one."""

BULK_BYTES_SHARED: Final = 128 * KIB
"""Pieces of a stream up to here have a turn of the loop after each: they are small because calls
come."""

BULK_BYTES_TOGETHER: Final = 1024 * KIB
"""What leaves of streams in larger pieces before others have a turn: 0.4 ms at 2.5 GB/s. A slower
line does not take so much at once."""

SHORT_WAIT_S: Final = 0.004
"""From one wait of the loop to the next, work included: on a slow virtual machine a null call takes
0.3 ms when both ends sleep, a chain of ten calls 0.9 ms, and a hundred tasks come round in 2 ms."""

LOOK_S_MAX: Final = 0.001
"""How long the loop looks before it sleeps, where the last waits were short: what a subject needs
for a chain of ten calls there. Whatever else happens waits so long at most."""

SHORT_WAITS_MIN: Final = 8
SHORT_WAITS_MAX: Final = 4096
"""How many short waits in a row make the loop look. Doubled by each look in vain, so that a program
whose waits are not what they seem looks at most once in thousands."""

PAUSE_S: Final = 0.1
"""After such a pause looking may be worth its while again. Nine looks in vain are all that can
follow each, so they take less than a tenth of the time, whatever a program does."""

KEY_FILE_BYTES_MAX: Final = 4 * KIB
"""An Ed25519 key in PEM is 119 bytes; a larger file is something else."""

PASSPHRASE_BYTES_MAX: Final = 1024
"""More is a file that was given by mistake."""

SCRYPT_N_DEFAULT: Final = 2**17
SCRYPT_R: Final = 8
"""128 MiB and half a second for each guess, as OWASP's Password Storage page of 2023 advises."""

SCRYPT_N_MIN: Final = 2**14
SCRYPT_P_MAX: Final = 4
SCRYPT_BYTES_MAX: Final = 1024 * KIB * KIB
"""What a key file may ask for, looked at before it is spent: 128 x n x r bytes (RFC 7914, section
2), from 16 MiB, below which guessing is cheap, to 1 GiB."""

CERTIFICATE_BYTES_MAX: Final = 4 * KIB
"""Ours is about 500 bytes in PEM; room for another implementation's names."""

# The listener must outlast neither limit by waiting: both are counted from the same accept.
assert REFUSAL_DRAIN_S < HANDSHAKE_S_MAX

HAND_OVER_S_MAX: Final = 2.0
"""How long a process of this machine may take to pass a file. It takes 0.1 ms; a peer that keeps us
waiting costs this much before the network is used alone."""

ACCEPT_AGAIN_S: Final = 0.1
"""How soon a process that had no descriptor left for a reader tries again."""

HAND_OVERS_MAX: Final = 64
"""Files that wait to be taken: as many as a connection may have streams."""
