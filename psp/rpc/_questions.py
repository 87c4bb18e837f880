"""When is a question finished? This table says it; docs/protocol.md prints it.

Ids are never reused, so a question that is free is simply forgotten: a RETURN that crosses our
FINISH names an id that was issued and is not open, and is ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

QuestionState: TypeAlias = Literal[
    "awaiting", "awaiting_last", "streaming", "streaming_last", "returned", "free"
]
QuestionStep: TypeAlias = Literal[
    "receive_return", "receive_stream", "receive_end", "send_finish", "connection_ends"
]

AWAITING: Final = "awaiting"  # Sent; no RETURN yet.
AWAITING_LAST: Final = "awaiting_last"  # Likewise, but the RETURN is all: `no_pipelining`.
STREAMING: Final = "streaming"  # The RETURN has named a stream; its END has not come.
STREAMING_LAST: Final = "streaming_last"  # Likewise, and the END is all.
RETURNED: Final = "returned"  # The subject keeps the answer: calls may name it until FINISH.
FREE: Final = "free"  # Nothing is held on either side.

# What is missing is the peer's fault (a second RETURN) or impossible (FREE is never stored).
QUESTION_TRANSITIONS: Final[Mapping[tuple[QuestionState, QuestionStep], QuestionState]] = {
    (AWAITING, "receive_return"): RETURNED,
    (AWAITING, "send_finish"): FREE,
    (AWAITING, "connection_ends"): FREE,
    (AWAITING_LAST, "receive_return"): FREE,
    (AWAITING_LAST, "send_finish"): FREE,
    (AWAITING_LAST, "connection_ends"): FREE,
    (AWAITING, "receive_stream"): STREAMING,
    (AWAITING_LAST, "receive_stream"): STREAMING_LAST,
    (STREAMING, "receive_end"): RETURNED,
    (STREAMING, "send_finish"): FREE,
    (STREAMING, "connection_ends"): FREE,
    (STREAMING_LAST, "receive_end"): FREE,
    (STREAMING_LAST, "send_finish"): FREE,
    (STREAMING_LAST, "connection_ends"): FREE,
    (RETURNED, "send_finish"): FREE,
    (RETURNED, "connection_ends"): FREE,
}
