"""Everything that can go wrong, in one tree: one class per remedy.

    PSPError
    ├── ProtocolError                 somebody broke docs/protocol.md
    │   ├── LocalProtocolError        we did; nothing was sent; fix the caller
    │   └── RemoteProtocolError       the peer did; the connection ends
    │       └── MalformedFrame        its bytes are not a frame
    ├── CapabilityError
    │   ├── NarrowingError            a holder tried to widen; local
    │   └── GrantRefused              bad chain, wrong presenter, expired; the owner hears why
    ├── LedgerError
    │   ├── InclusionProofInvalid   ├── ConsistencyProofInvalid   └── CheckpointRejected
    ├── ArchiveError                  the directory of an archive is not what it must be
    │   ├── ArchiveInUse              another process has it open; it says which
    │   └── IntakeRefused             a file cannot be sealed as it is; nothing was
    ├── QuestionError                 the asker's text cannot become a plan; says where
    ├── TooFewAnswered                fewer members than the asker required; holds what came
    ├── EstateError                   files, ports and settings of the operator's own machine
    │   ├── KeyFileError              a key file is missing, damaged or open to others
    │   └── MissingExtra              an optional library is not installed; names the extra
    ├── CallFailed                    one subclass per wire code; carries processed and correlation
    ├── LocalRefused                  a file passed on this machine is not used; TLS is
    └── Disconnected                  there is no connection; what was in flight is ConnectionLost
        ├── Unreachable               no connection could be made
        └── NotPaired                 one side does not hold the other's machine key

A message has three parts: what was asked, what was there, what to do. It never holds a row, a token
or a key.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar, Final


class PSPError(Exception):
    """The root of every error that psp raises on purpose."""


class ProtocolError(PSPError):
    """Somebody broke docs/protocol.md."""


class LocalProtocolError(ProtocolError):
    """This side asked for something that the protocol forbids; nothing was sent."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol; the connection has ended."""


class MalformedFrame(RemoteProtocolError):
    """The peer's bytes are not a frame that may be received here."""


class CapabilityError(PSPError):
    """A grant cannot be made, narrowed or accepted."""


class NarrowingError(CapabilityError):
    """A holder tried to make a grant wider than its own."""


class GrantRefused(CapabilityError):
    """A token was refused. The reason is for the archive's owner; the presenter hears `denied`.

    Attributes:
        step: The name of the check that failed, for the owner's log only.
    """

    def __init__(self, step: str, detail: str = "") -> None:
        super().__init__(f"the grant was refused at the check {step!r}. {detail}".strip())
        self.step = step


class LedgerError(PSPError):
    """A ledger cannot be read, extended or believed."""


class InclusionProofInvalid(LedgerError):
    """The proof does not lead from the entry to the root."""


class ConsistencyProofInvalid(LedgerError):
    """The newer tree does not extend the older one."""


class CheckpointRejected(LedgerError):
    """A checkpoint is malformed, for another ledger, or not signed by the expected key."""


class ArchiveError(PSPError):
    """An archive's directory is missing, damaged, locked or of another archive."""


class ArchiveInUse(ArchiveError):
    """Another process has the archive open. One that serves it takes commands by its socket."""


class IntakeRefused(ArchiveError):
    """A file cannot be sealed as it is. Nothing was sealed."""


class QuestionError(PSPError):
    """The asker's text cannot become a plan. The message points at the place."""


class TooFewAnswered(PSPError):
    """Fewer members answered than the asker required.

    Attributes:
        answer: What came all the same, a `psp.aggregator.Answer`.
    """

    def __init__(self, text: str, *, answer: object) -> None:
        super().__init__(text)
        self.answer = answer


class EstateError(PSPError):
    """Something on the operator's own machine is missing or in the way."""


class KeyFileError(EstateError):
    """A key file is missing, damaged, or readable by others."""


class MissingExtra(EstateError):
    """An optional library is not installed.

    The distribution is `psp-protocol`; the name `psp` on the registry belongs to a stranger, so no
    message may send a user there.
    """

    def __init__(self, what: str, *, library: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the library {library}, which is not installed here."
            f" Install it with: pip install 'psp-protocol[{extra}]'"
        )


class Processed(Enum):
    """Whether a call that failed may have had an effect: what makes a retry safe by fact."""

    NO = 0
    MAYBE = 1
    YES = 2


class CallFailed(PSPError):
    """A call ended without a result; the subclass says what the caller can do about it.

    Attributes:
        code: The wire code, from the closed table of docs/protocol.md.
        processed: Whether the call may have had an effect.
        correlation_id: Names this failure in the subject's own log; empty if there is none.
    """

    code: ClassVar[int]
    word: ClassVar[str]
    # What stands on the wire when the subject has nothing more specific to say.
    default_text: ClassVar[str]

    def __init__(
        self,
        text: str = "",
        *,
        processed: Processed = Processed.NO,
        correlation_id: str = "",
    ) -> None:
        super().__init__(text or self.default_text)
        self.processed = processed
        self.correlation_id = correlation_id


class Denied(CallFailed):
    """Get another grant. Covers every failure before a grant has verified on this connection."""

    code, word = 1, "denied"
    default_text = "not allowed, or not there; ask the owner for a grant that covers it"


class Expired(CallFailed):
    """Renew the grant. Said only of a grant that verified on this connection."""

    code, word = 2, "expired"
    default_text = "the grant's time has ended; have it renewed"


class Revoked(CallFailed):
    """Ask the owner. Said only of a grant that verified on this connection."""

    code, word = 3, "revoked"
    default_text = "the grant was taken back; ask the owner"


class Invalid(CallFailed):
    """Fix the call: unknown method, wrong arguments, unknown column."""

    code, word = 4, "invalid"
    default_text = "the call is not well formed"


class Suppressed(CallFailed):
    """Ask for something coarser: the answer would say too much about too few."""

    code, word = 5, "suppressed"
    default_text = "hidden: too few subjects; ask for a coarser question"


class BudgetSpent(CallFailed):
    """Wait, or ask for a larger budget."""

    code, word = 6, "budget"
    default_text = "the grant's budget is spent"


class LimitExceeded(CallFailed):
    """Ask for less: the call or its answer is larger than a limit."""

    code, word = 7, "limit"
    default_text = "larger than a limit allows"


class Overloaded(CallFailed):
    """Try again later, with jitter."""

    code, word = 8, "overloaded"
    default_text = "too much is under way; try again later"


class DeadlineExceeded(CallFailed):
    """Allow more time, or ask for less."""

    code, word = 9, "deadline"
    default_text = "the time given to the call ran out"


class CallCancelled(CallFailed):
    """Nothing to do: the caller gave the call up."""

    code, word = 10, "cancelled"
    default_text = "the caller gave the call up"


class ConnectionLost(CallFailed):
    """Reconnect. `processed` says whether the call may be repeated."""

    code, word = 11, "disconnected"
    default_text = "the connection ended before the answer came"


class Unimplemented(CallFailed):
    """Use another method: this peer does not have the feature."""

    code, word = 12, "unimplemented"
    default_text = "this peer does not have that feature"


class HandlerFailed(CallFailed):
    """Report it with its correlation id: the fault is on the other side."""

    code, word = 13, "failed"
    default_text = "the call failed on the other side; its log has the correlation id"


CALL_FAILURES: Final[dict[int, type[CallFailed]]] = {
    failure.code: failure
    for failure in (
        Denied,
        Expired,
        Revoked,
        Invalid,
        Suppressed,
        BudgetSpent,
        LimitExceeded,
        Overloaded,
        DeadlineExceeded,
        CallCancelled,
        ConnectionLost,
        Unimplemented,
        HandlerFailed,
    )
}


class LocalRefused(PSPError):
    """A result could not be handed over on this machine; it is read over the network instead."""


class Disconnected(PSPError):
    """The connection is gone. Calls in flight fail each with `ConnectionLost`."""


class Unreachable(Disconnected):
    """No connection could be made: nobody listens there, or the network is down."""


class NotPaired(Disconnected):
    """One side does not hold the other's machine key: there is no pathway between the two."""
