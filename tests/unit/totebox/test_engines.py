"""What holds for every engine that an archive can have, beyond what it answers."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from psp.errors import MissingExtra
from psp.totebox import _duckdb_engine, _engine
from psp.totebox._compile import compile_view
from psp.totebox._engine import Engine
from psp.totebox._engine_thread import query_in_thread
from psp.totebox._engines import open_index
from psp.values import Value

from .test_engine import ROWS, SALES, ask, engine_on, index, kind, rule

__all__ = ["index", "kind"]

DEADLINE_S = 0.05
COPIES = 12
"""19 rows beside themselves so often are 2·10^15 rows, years for any engine."""


def endless_on(index: Path) -> Engine:
    """Open an engine whose view has so many rows that no scan of it ends."""

    def view(*args: object, **kwargs: object) -> str:
        sql = compile_view(*args, **kwargs)  # type: ignore[arg-type]
        copies = ", ".join(f'main."sales" AS s{at}' for at in range(COPIES))
        # SQLite reports a read of no column as one from outside the view.
        read = " AND ".join(f's{at}."id" = s{at}."id"' for at in range(COPIES))
        many = f'(SELECT s0."id" AS one FROM {copies} WHERE {read})'
        return sql.replace('FROM main."sales"', f'FROM main."sales", {many}')

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_engine, "compile_view", view)
        patched.setattr(_duckdb_engine, "compile_view", view)
        return engine_on(index, SALES, rule())


async def test_a_deadline_ends_a_scan_that_would_go_on_for_years(index: Path) -> None:
    engine = endless_on(index)
    answered: dict[str, Value] = {}

    with trio.move_on_after(DEADLINE_S) as deadline:
        answered = await query_in_thread(engine, ask())

    assert deadline.cancelled_caught
    assert answered == {}
    # The connection is whole: it is told of another end and closed, and the rows are still there.
    engine.interrupt()
    engine.close()
    other = engine_on(index, SALES, rule())
    assert (await query_in_thread(other, ask()))["cells"] == [[[], [len(ROWS)]]]


async def test_a_deadline_that_is_over_before_the_scan_begins_ends_it_too(index: Path) -> None:
    engine = endless_on(index)

    with trio.CancelScope() as over:
        over.cancel()
        await query_in_thread(engine, ask())

    assert over.cancelled_caught
    engine.close()


def test_an_archive_with_duckdb_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    path = tmp_path / "index.duckdb"

    with pytest.raises(MissingExtra, match=r"needs the library duckdb.*psp-protocol\[columns\]"):
        open_index("duckdb", path, [SALES], bytes(32), read_only=False)
    assert not path.exists()
    open_index("sqlite", tmp_path / "index.sqlite", [SALES], bytes(32), read_only=False).close()
