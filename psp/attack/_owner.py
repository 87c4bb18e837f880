"""The owner's side of a refusal: the archive's own checks, run here on the same bytes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeAlias

from psp.aggregator import Member
from psp.capability import ceiling, verify_anchor_untrusted, verify_untrusted
from psp.errors import GrantRefused, PSPError
from psp.estate import Estate

RuleOf: TypeAlias = Callable[[bytes], str]
"""Names the check that refuses a token; an empty text if that cannot be known."""


def owners_view(estate: Estate, member: Member, presenter: bytes) -> RuleOf:
    """Name checks as the archive's log does, if the archive lies on this machine.

    The log itself goes to whoever serves the archive. An archive that was moved away names nothing.
    """
    directory = estate.layout.archive(member.name)
    archive_id = member.address.archive_id
    try:
        statement = (directory / "keys" / "anchor").read_bytes()
        anchor = verify_anchor_untrusted(statement, archive_id=archive_id)
    except (OSError, PSPError):
        return lambda token: ""
    tables = {name: table.column_names for name, table in estate.grants.tables.items()}
    under = ceiling("ADMIN", tables, 1)

    def rule_of(token: bytes) -> str:
        try:
            verify_untrusted(
                token, anchor=anchor, presenter=presenter, ceiling=under, now_s=int(time.time())
            )
        except GrantRefused as exc:
            return exc.step
        return ""

    return rule_of
