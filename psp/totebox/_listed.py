"""The group keys that an owner has listed in full, and so lets everybody know.

A hidden cell's key is a disclosure of its own: "one flight to Lagos" is in the word Lagos. Only
where the manifest lists every value a column may ever hold does a key say nothing about the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from itertools import product
from math import prod
from typing import Final

from psp.capability import RowDomain
from psp.plan import Bucket, GroupKey
from psp.values import Value

from ._manifest import Column, ColumnType

LISTED_KEYS_MAX: Final = 10_000
"""An answer that prints more hidden keys than this is a list of keys, not an answer; beyond it the
hidden cells are only counted."""
_DAYS_MAX: Final = 200 * 366
"""Two centuries of days are walked in 40 ms; a longer range is not a range that anybody listed."""


def bucket_text(day: date, bucket: Bucket) -> str:
    """Give the text of the bucket that a day falls into, as each engine's dialect does."""
    match bucket:
        case Bucket.YEAR:
            return f"{day.year:04}"
        case Bucket.QUARTER:
            return f"{day.year:04}-Q{(day.month + 2) // 3}"
        case Bucket.MONTH:
            return f"{day.year:04}-{day.month:02}"
        case Bucket.WEEK:
            year, week, _ = day.isocalendar()
            return f"{year:04}-W{week:02}"
        case Bucket.DAY:
            return day.isoformat()


def listed_keys(
    keys: Sequence[tuple[GroupKey, Column, Sequence[RowDomain]]],
) -> list[tuple[Value, ...]] | None:
    """List every group key that a plan could have; None if some column's values are not listed.

    Args:
        keys: Each group key with its column and the domains, of the scope and of the plan, that
            the column's rows have already passed. What they exclude is no hidden cell.
    """
    domains = [_listed_values(*key) for key in keys]
    known = [domain for domain in domains if domain is not None]
    if len(known) < len(domains) or prod(map(len, known)) > LISTED_KEYS_MAX:
        return None
    return list(product(*known))


def _listed_values(
    key: GroupKey, column: Column, domains: Sequence[RowDomain]
) -> list[Value] | None:
    if column.from_ is not None and column.to is not None:
        days = (column.to - column.from_).days + 1
        if days > _DAYS_MAX:
            return None
        every = (column.from_ + timedelta(days=at) for at in range(days))
        inside = [day for day in every if all(domain.contains(day) for domain in domains)]
        if key.bucket is None:
            return list(inside)
        # A dict keeps the order of first sight, which is the order of time.
        return list(dict.fromkeys(bucket_text(day, key.bucket) for day in inside))
    if column.values and column.type in _LISTABLE and key.bucket is None:
        return [value for value in column.values if all(it.contains(value) for it in domains)]
    return None


_LISTABLE: Final = (ColumnType.INTEGER, ColumnType.TEXT, ColumnType.BOOLEAN)
