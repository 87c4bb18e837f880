"""The limits of waiting: how long, how many, how fair."""

from __future__ import annotations

from typing import Final

CALL_S_DEFAULT: Final = 30.0
"""How long a call may take if the caller does not say. Finite, so that nobody waits for ever."""

QUESTIONS_TOGETHER_MAX: Final = 512
"""Questions that are joined into one send. A program that asks 20,000 things before it awaits any
keeps the subject busy meanwhile; 512 calls are about 16 KiB, one TLS record."""

JOINED_BYTES_MAX: Final = 16 * 1024
"""Chunks of a stream that arrive small and lie unread are joined up to here: a subject that sends
byte by byte would otherwise cost forty times its bytes."""

LANDING_BYTES_TOGETHER: Final = 1024 * 1024
"""What is read of landing streams before others have a turn: a reader on a fast line never has to
wait, so without this nobody else would ever run. 0.4 ms at 2.5 GB/s."""

LANDING_WINDOW_BYTES: Final = 4 * 1024 * 1024
"""What of a result may be on its way that was to be handed over and is read from the network after
all: its call has accepted little, and with little every chunk would wait for credit. It goes into
memory that is reserved by then."""

SENT_BYTES_TOGETHER: Final = 8 * 1024 * 1024
"""What of a sealed file is offered at a time: between two of these its grant is looked at again."""

CONTENDED_S: Final = 1.0
"""How long after its last question somebody still counts as one who is asking: longer than the gaps
between the questions of one view, shorter than a person's patience with an idle neighbour."""

PAUSE_S_MAX: Final = 0.25
"""The longest pause of somebody with more work waiting, while others ask: it keeps half of the
processor for them, and is not noticed after a question that took that long."""

FINISHED_WAITING_MAX: Final = 256
"""Answers that we are done with and have not said so. FINISH rides with the next call; if none
comes, this many are worth a send of their own (the subject keeps 4,096)."""

PING_S: Final = 120.0
PONG_S_MAX: Final = 30.0
"""A controller that has heard nothing for two minutes asks for a sign of life, and gives the
connection up half a minute later. A quarter of what a subject allows an idle peer: a ping may be
lost to a suspended machine, three may not."""

HELLO_S_MAX: Final = 10.0
"""How long a paired peer may hold a connection without its HELLO, as long as for the handshake."""

FRAME_S_MAX: Final = 30.0
"""How long a begun frame may take; checked at this interval, so a frame of one byte a minute ends
within twice of it. 256 KiB in 30 seconds are 70 kbit/s."""

IDLE_S_MAX: Final = 600.0
"""How long a peer may say nothing at all. Ours asks for a sign of life five times in that time."""

INLINE_CALLS_MAX: Final = 50
INLINE_S_MAX: Final = 0.001
"""How long one connection may keep the subject to itself before others get a turn. A receive buffer
holds 10,000 small calls; 1 ms is what 25 null calls of another connection take. A run of calls is
answered in pieces of twice as many each: short ones let both sides work at once, and a long run has
no use for as many sends. Fifty: of a hundred callers at once one half reads while the other is
answered (64 took 6 % longer there, 32 as long; 40 callers or 200 make no difference)."""

IDLE_WORKERS_MAX: Final = 16
"""Worker tasks that a connection keeps between calls; a task costs 2 KiB and 5 µs to start."""

WAKING_WORKERS_MAX: Final = 64
"""Workers that were woken and have not run yet. One more for each of 15,000 calls that become ready
together would be 15,000 tasks, for calls that one worker may end."""

DRAIN_S: Final = 5.0
"""How long a stopping subject lets the calls that have started run on."""

FLUSH_S: Final = 1.0
"""How long a closing connection waits for its last frames to leave."""

FAREWELL_BYTES_MAX: Final = 256 * 1024
"""What may still be on its way from a peer that is told why its connection ends: one frame."""

ACCEPT_PAUSE_S: Final = 0.1
"""How long a listener rests when the machine has no more file descriptors; closing connections give
some back, and trying at once again would take a whole core."""

BACKLOG: Final = 512
"""Connections the kernel holds for us between two turns: a fleet that restarts dials at once."""

LOCAL_CONNECTIONS_MAX: Final = 16
"""Connections to a control socket: commands of one person, who waits for each. Whoever comes next
waits in the kernel's queue."""

MEETING_FRAMES_S_MAX: Final = 5.0
"""How long one frame of the pairing ceremony may take: at most 1,200 bytes that are sent at once.
Five seconds cover the worst link that two people would pair machines over."""

MEETING_PEOPLE_S_MAX: Final = 180.0
"""How long the two people may take to compare twelve digits, by telephone."""

MEETINGS_GREETED_MAX: Final = 16
"""Connections that have not said their first frame. One more, and the oldest is cut off, so that
silent ones cannot keep a machine out whose frame comes at once."""
