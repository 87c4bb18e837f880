"""Where SQLite and DuckDB say the same thing in other words.

Both keep a value in the same form: decimals as scaled integers, dates as ISO text, truths as 0 and
1. So conditions, keys and order are one text for both, and what differs is this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import apsw

from psp.plan import Bucket

from ._cells import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one engine says it; `{0}` stands for a column.

    Attributes:
        literal: Writes a value into a view, which takes no parameters.
        every_row: A condition that lets every row of a view through; of a column of the key.
        row: What numbers the rows of a table; and those of its past, in numbers of their own.
        at_least: How many distinct values a group has: exactly, or a number that is never more,
            where that is quicker to find.
        few: The distinct values of a group, as a JSON text or as a list.
        whole_sum: Parts of the exact sum of 64-bit integers, and what each is to be multiplied by:
            one, or the high and the low halves.
        whole_squares: Likewise of the sum of their squares.
        float_sum: The sum of floats.
    """

    literal: Callable[[Stored], str]
    every_row: str
    row: tuple[str, str]
    at_least: str
    few: str
    whole_sum: tuple[tuple[str, int], ...]
    whole_squares: tuple[tuple[str, int], ...]
    float_sum: str
    buckets: Mapping[Bucket, str]


SQLITE: Final = Dialect(
    literal=apsw.format_sql_value,
    # A key is never null. It is there because SQLite reports a read of no column at all, as in
    # count(*) over an unrestricted view, outside of the view's context, where the authorizer must
    # refuse it. (IS NOT NULL would be optimised away.)
    every_row="{0} = {0}",
    row=("rowid", "-rowid"),
    at_least="count(DISTINCT {0})",
    few="json_group_array(DISTINCT {0})",
    # SQLite's sum() of integers fails past 64 bits, and total() rounds. The two halves of each
    # number are added apart: 2^31 rows fit, and Python puts them together exactly.
    whole_sum=(("sum({0} >> 32)", 2**32), ("sum({0} & 4294967295)", 1)),
    # x = h·2^32 + l and l = a·2^16 + b, so x² = h²·2^64 + 2·h·l·2^32 + (a²·2^32 + 2·a·b·2^16 + b²).
    # No product passes 63 bits; h² and h·l come near, so these are added in halves as well.
    whole_squares=(
        ("sum((({0} >> 32) * ({0} >> 32)) >> 32)", 2**96),
        ("sum((({0} >> 32) * ({0} >> 32)) & 4294967295)", 2**64),
        ("sum((({0} >> 32) * ({0} & 4294967295)) >> 32)", 2**65),
        ("sum((({0} >> 32) * ({0} & 4294967295)) & 4294967295)", 2**33),
        ("sum((({0} >> 16) & 65535) * (({0} >> 16) & 65535))", 2**32),
        ("sum((({0} >> 16) & 65535) * ({0} & 65535))", 2**17),
        ("sum(({0} & 65535) * ({0} & 65535))", 1),
    ),
    float_sum="sum({0})",
    buckets={
        Bucket.YEAR: "substr({0}, 1, 4)",
        Bucket.QUARTER: "substr({0}, 1, 4) || '-Q' || ((substr({0}, 6, 2) + 2) / 3)",
        Bucket.MONTH: "substr({0}, 1, 7)",
        Bucket.WEEK: "strftime('%G-W%V', {0})",
        Bucket.DAY: "{0}",
    },
)


def _duckdb_literal(value: Stored) -> str:
    match value:
        case str():
            return "'" + value.replace("'", "''") + "'"
        case float():
            # Else 0.1 would be a decimal, and compared as one.
            return f"CAST('{value!r}' AS DOUBLE)"
        case int():
            return str(value)
    raise AssertionError(f"a {type(value).__name__} in a row domain")


DUCKDB: Final = Dialect(
    literal=_duckdb_literal,
    every_row="TRUE",
    row=("rowid", "-1 - rowid"),  # Its rows begin at 0.
    # Each value sets one of 64 bits, null none: there are as many values as bits, or more. To tell
    # all of them apart takes three times as long as the rest of a question.
    at_least="coalesce(bit_count(bit_or(CAST({0} IS NOT NULL AS UBIGINT) << (hash({0}) & 63))), 0)",
    few="list(DISTINCT {0})",
    whole_sum=(("sum({0})", 1),),  # In 128 bits.
    # One square fits into 127 bits, two may not: they are added in halves.
    whole_squares=(
        ("sum(CAST({0} AS HUGEINT) * {0} // 18446744073709551616)", 2**64),
        ("sum(CAST({0} AS HUGEINT) * {0} % 18446744073709551616)", 1),
    ),
    # Compensated, as SQLite's own is: the order of the rows must not show in the last digits.
    float_sum="fsum({0})",
    buckets={
        Bucket.YEAR: "substr({0}, 1, 4)",
        Bucket.QUARTER: "substr({0}, 1, 4) || '-Q'"
        " || ((CAST(substr({0}, 6, 2) AS BIGINT) + 2) // 3)",
        Bucket.MONTH: "substr({0}, 1, 7)",
        Bucket.WEEK: "lpad(CAST(isoyear(CAST({0} AS DATE)) AS VARCHAR), 4, '0') || '-W' ||"
        " lpad(CAST(week(CAST({0} AS DATE)) AS VARCHAR), 2, '0')",
        Bucket.DAY: "{0}",
    },
)
