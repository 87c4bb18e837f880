"""DuckDB in a program's own process: no grant, no network, no record, the same facts by hand."""

from __future__ import annotations

from typing import Final

import duckdb

from benchmarks.peers._child import Sample, Setting, answer_commands, one_by_one

# What an answer about groups of at least ten subjects takes: each group's rows, its subjects, the
# figures; and who stands behind the groups that are too small.
FACTS: Final = """
    SELECT zip, count(*), count(DISTINCT owner), sum(price), count(price) FROM sales
    GROUP BY zip ORDER BY zip
"""
BEHIND: Final = """
    SELECT zip, list(DISTINCT owner) FROM sales WHERE list_contains(?, zip) GROUP BY zip
"""
FLOOR: Final = 10


def drive(setting: Setting) -> None:
    with duckdb.connect(setting.box) as database:

        def ask() -> None:
            found = database.execute(FACTS).fetchall()
            if few := [row[0] for row in found if row[2] < FLOOR]:
                database.execute(BEHIND, [few]).fetchall()

        def group(count: int) -> Sample:
            return one_by_one(ask, count)

        answer_commands({"group": group})
