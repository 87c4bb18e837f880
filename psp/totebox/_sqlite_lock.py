"""The second lock of SQLite: statements that read one grant's view, and nothing else.

It knows nothing of plans and rules. Whatever the compiler made, this is asked about each table,
column and function of it, by SQLite itself.
"""

from __future__ import annotations

import re
from collections.abc import Set
from functools import lru_cache
from typing import Final

import apsw

_FUNCTIONS: Final = frozenset(
    {"count", "sum", "min", "max", "substr", "strftime", "json_group_array"}
)
"""What the compiler uses. Everything else that SQLite has (load_extension, readfile) stays shut."""

# The authorizer is not told about WITH, and names a common table expression just as it names a
# view. Quoted names and texts are taken out first: a column may be called "with".
_QUOTED: Final = re.compile(r""""(?:[^"]|"")*"|'(?:[^']|'')*'""")
_LOOKED_AT_MAX: Final = 256
"""Statements remembered as having no WITH, some 200 KiB: a row's is the same at every read."""
_WITH: Final = re.compile(r"\bwith\b", re.IGNORECASE)


@lru_cache(maxsize=_LOOKED_AT_MAX)
def refuse_with(sql: str) -> None:
    """Let no statement with a WITH through.

    Raises:
        apsw.AuthError: This is one.
    """
    if _WITH.search(_QUOTED.sub("", sql)):
        raise apsw.AuthError("WITH is not allowed: no lock can see through it")


def authorize(
    tables: Set[str],
    view: str,
    action: int,
    first: str | None,
    second: str | None,
    where: str | None,
    via: str | None,
) -> int:
    """Allow reads through one grant's view, and nothing else.

    `via` is the innermost view that the read stands in; None for a statement of its own.
    """
    if action == apsw.SQLITE_READ:
        through_view = where == "main" and first in tables and via == view
        of_view = where == "temp" and first == view
        return apsw.SQLITE_OK if through_view or of_view else apsw.SQLITE_DENY
    if action == apsw.SQLITE_FUNCTION:
        return apsw.SQLITE_OK if second in _FUNCTIONS else apsw.SQLITE_DENY
    if action in (apsw.SQLITE_SELECT, apsw.SQLITE_TRANSACTION):
        return apsw.SQLITE_OK
    return apsw.SQLITE_DENY
