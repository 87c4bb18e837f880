"""How the members of an estate are: what each says of itself, and who says nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psp.errors import RemoteProtocolError
from psp.values import to_text

from ._outcome import MemberState, Outcome, absent_to_dict, count_states


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What one archive says of itself.

    Attributes:
        state: `active`, `suspended` or `archived`.
        tree_size: Entries in its ledger.
        record_bytes: Bytes of records that have left it under `read`, since it was started.
        result_bytes: Bytes of computed results that have left it, likewise.
    """

    state: str
    tree_size: int
    record_bytes: int
    result_bytes: int

    @property
    def member_state(self) -> MemberState:
        """What it makes of the member that gave it."""
        return MemberState.ANSWERED


def read_health_untrusted(member: str, answer: object) -> Health:
    """Read what a stranger says of itself.

    Raises:
        RemoteProtocolError: It is not a health report. Nothing else is raised.
    """
    match answer:
        case {
            "state": str(state),
            "tree_size": int(tree_size),
            "record_bytes": int(record_bytes),
            "result_bytes": int(result_bytes),
        }:
            return Health(
                state=state,
                tree_size=tree_size,
                record_bytes=record_bytes,
                result_bytes=result_bytes,
            )
    raise RemoteProtocolError(
        f"member {member!r} sent a health report that is not one; ask its operator which release"
        " it runs"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EstateStatus:
    """The health of every member that was asked."""

    outcomes: tuple[Outcome[Health], ...]
    asked_at: datetime

    @property
    def health(self) -> Mapping[str, Health]:
        """The reports that came, by member."""
        return {each.member: each.reply for each in self.outcomes if each.reply is not None}

    def to_dict(self) -> dict[str, Any]:
        """The plain form, ready for JSON."""
        return {
            "asked_at": to_text(self.asked_at),
            "members_asked": len(self.outcomes),
            "states": count_states(self.outcomes),
            "absent": absent_to_dict(self.outcomes),
            "members": [
                {
                    "member": each.member,
                    "state": each.reply.state,
                    "since": to_text(each.since),
                    "tree_size": each.reply.tree_size,
                    "record_bytes": each.reply.record_bytes,
                    "result_bytes": each.reply.result_bytes,
                }
                for each in self.outcomes
                if each.reply is not None
            ],
        }
