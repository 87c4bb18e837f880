"""The demo, run as a user runs it, against figures computed straight from the table."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from psp.demo import HOUSES
from psp.errors import EstateError

pytestmark = pytest.mark.slow

FLOOR = 10
MONTHS = [f"2014-{month:02}" for month in range(5, 13)] + [
    f"2015-{month:02}" for month in range(1, 6)
]

# (postal code, month) to the sales in it: parcel, price, living area.
Cells = dict[tuple[str, str], list[tuple[int, int, int]]]


@pytest.fixture(scope="module")
def raw() -> Cells:
    """The whole table, read without psp."""
    try:
        path = HOUSES.locate()
    except EstateError as exc:
        pytest.skip(str(exc))
    import duckdb

    cells: Cells = defaultdict(list)
    with duckdb.connect() as connection:
        rows = connection.execute(
            "select zipcode, strftime(date, '%Y-%m'), id, price, sqft_living from read_parquet(?)",
            [str(path)],
        ).fetchall()
    for zipcode, month, parcel, price, area in rows:
        cells[str(zipcode), month].append((parcel, price, area))
    return cells


@pytest.fixture(scope="module")
def demo(raw: Cells) -> dict[str, Any]:
    """All of it in one run: with a delay between the two sides, it shows what it else shows."""
    done = subprocess.run(
        [sys.executable, "-m", "psp", "demo", "--far", "30ms", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result: dict[str, Any] = json.loads(line)
    return result


def test_every_member_is_in_exactly_one_state(demo: dict[str, Any]) -> None:
    assert demo["members"] == 70
    assert sum(demo["states"].values()) == 70
    assert demo["states"] == {"answered": 70}


def test_the_owner_sees_every_sale_and_every_dollar(demo: dict[str, Any]) -> None:
    total = demo["view"]["owner"]["total"]
    assert total["sales"] == 21613
    assert total["volume"] == "11672925008"
    assert demo["view"]["owner"]["withheld"] == []


@pytest.mark.parametrize("tenant", ["owner", "lender"])
def test_every_figure_equals_the_one_computed_from_the_table(
    demo: dict[str, Any], raw: Cells, tenant: str
) -> None:
    """Money exactly, ratios to 1e-12, for the estate and for every member."""
    view = demo["view"][tenant]
    everything = [sale for sales in raw.values() for sale in sales]
    assert_figures(view["total"], everything)
    assert len(view["members"]) == 70
    for member in view["members"]:
        sales = [
            sale for (code, _), cell in raw.items() if code == member["member"] for sale in cell
        ]
        assert_figures(member, sales)


def test_every_month_of_the_trend_sums_the_members_that_show_it(
    demo: dict[str, Any], raw: Cells
) -> None:
    hidden = hidden_cells(demo["view"]["lender"])
    for tenant, left_out in (("owner", set()), ("lender", hidden)):
        for period in demo["view"][tenant]["trend"]:
            month = period["period"]
            shown = [key for key in raw if key[1] == month and key not in left_out]
            assert_figures(period, [sale for key in shown for sale in raw[key]])
            assert period["members"] == len(shown)


def test_the_lender_is_denied_exactly_the_cells_that_must_be_hidden(
    demo: dict[str, Any], raw: Cells
) -> None:
    """The complement is a group of the fewest rows among those that could be shown."""
    by_rule: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for entry in demo["view"]["lender"]["withheld"]:
        by_rule[entry["rule"]].add((entry["member"], entry["period"]))
    floor, needed = must_be_hidden(raw)
    assert by_rule["floor"] == floor
    assert set(by_rule) <= {"floor", "complement"}
    for code, (count, size) in needed.items():
        chosen = [key for key in by_rule["complement"] if key[0] == code]
        assert len(chosen) == count, code
        assert {len(raw[key]) for key in chosen} <= size, code
    assert {code for code, _ in by_rule["complement"]} == {c for c, (n, _) in needed.items() if n}


def test_nothing_hidden_can_be_subtracted_back(demo: dict[str, Any], raw: Cells) -> None:
    """Attack 15, in part: the tracker's subtraction, over 70 archives."""
    assert subtractable(demo["view"]["lender"], raw) == []


def test_the_subtraction_finds_a_cell_when_its_complement_is_shown(
    demo: dict[str, Any], raw: Cells
) -> None:
    """The test above can fail: show one complement, and the cell beside it is found."""
    view = copy.deepcopy(demo["view"]["lender"])
    complements = [entry for entry in view["withheld"] if entry["rule"] == "complement"]
    assert complements, "the data must hold a case that needs a complement"
    view["withheld"].remove(complements[0])
    assert subtractable(view, raw) == [complements[0]["member"]]


def test_the_live_scenes_end_as_they_must(demo: dict[str, Any]) -> None:
    assert {scene["name"]: scene["ended"] for scene in demo["scenes"]} == {
        "one row for three seconds": "read, then expired",
        "a stolen grant": "denied",
        "two sums, one house apart": "suppressed",
        "an unpaired machine": "not paired",
        "a hostile member": "neutralised",
        "a killed member": "unreachable",
    }
    killed = next(scene for scene in demo["scenes"] if scene["name"] == "a killed member")
    assert killed["states"] == {"answered": 69, "unreachable": 1}


def test_two_sums_that_differ_by_one_house_are_not_both_told(
    demo: dict[str, Any], raw: Cells
) -> None:
    (scene,) = [it for it in demo["scenes"] if it["name"] == "two sums, one house apart"]
    sales = sum(len(cell) for (code, _), cell in raw.items() if code == "98103")
    assert scene["counts"] == [sales, sales - 1] == [602, 601]
    assert scene["difference"] == "640000"
    assert "with earlier answers this one would tell of fewer than 10 subjects" in scene["sentence"]


def test_no_record_left_the_archives_for_the_views(demo: dict[str, Any]) -> None:
    facts = demo["facts"]
    assert facts["record_bytes_for_views"] == 0
    # The counter counts: the one row that its owner granted by name is in it.
    assert facts["record_bytes_for_one_row"] > 0
    assert facts["result_bytes"] > 0
    assert facts["round_trips_per_member"] == 1
    assert facts["archives_memory_mib"] < 1536


def test_five_dependent_hops_go_in_one_round_trip(demo: dict[str, Any]) -> None:
    """Counted by the delay proxy, not timed: a count is the same on a slow machine."""
    assert demo["waterfall"]["round_trips"] == {"pipelined": 1, "plain": 5}


# The second demo seals and serves by the same code, with half of the archives: it serves in half
# the time. Where its generator is not installed the first one does.
SERVING = ["holding"] if find_spec("closebench") else []


@pytest.mark.parametrize("moment", ["sealing", "serving"])
def test_ctrl_c_leaves_no_process_and_no_half_written_file(
    tmp_path: Path, raw: Cells, moment: str
) -> None:
    arguments = {"sealing": ["--keep", "kept"], "serving": SERVING}[moment]
    process = subprocess.Popen(
        [sys.executable, "-m", "psp", "demo", *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    if moment == "sealing":
        wait_until(lambda: len(list(tmp_path.glob(".kept.making/archives/*/manifest.toml"))) > 5)
    else:
        wait_until(lambda: len(group_of(process.pid)) > 20)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    wait_until(lambda: group_of(process.pid) == [])
    assert sorted(path.name for path in tmp_path.iterdir()) == []


def test_a_killed_demo_leaves_no_process(tmp_path: Path, raw: Cells) -> None:
    """SIGKILL cannot be handled: their supervisor sees its input end, and stops the archives."""
    process = subprocess.Popen(
        [sys.executable, "-m", "psp", "demo", *SERVING],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        start_new_session=True,
    )
    wait_until(lambda: len(group_of(process.pid)) > 20)
    process.kill()
    process.wait(timeout=30)
    wait_until(lambda: group_of(process.pid) == [])


def assert_figures(figures: dict[str, Any], sales: list[tuple[int, int, int]]) -> None:
    volume, area = sum(sale[1] for sale in sales), sum(sale[2] for sale in sales)
    assert figures["sales"] == len(sales)
    assert Decimal(figures["volume"]) == volume
    ratio = Fraction(volume, area)
    assert abs(Fraction(figures["ppsf"]) / ratio - 1) < Fraction(1, 10**12)


def subjects(raw: Cells, keys: list[tuple[str, str]]) -> int:
    return len({parcel for key in keys for parcel, _, _ in raw.get(key, [])})


def must_be_hidden(
    raw: Cells,
) -> tuple[set[tuple[str, str]], dict[str, tuple[int, set[int]]]]:
    """The cells below the floor; for each member how many complements it needs, of which sizes."""
    floor, needed = set(), {}
    for code in {code for code, _ in raw}:
        cells = [(code, month) for month in MONTHS]
        small = [key for key in cells if subjects(raw, [key]) < FLOOR]
        floor.update(small)
        shown = sorted((key for key in cells if key not in small), key=lambda k: len(raw[k]))
        folded, sizes = list(small), set()
        while folded and shown and subjects(raw, folded) < FLOOR:
            sizes.add(len(raw[shown[0]]))
            folded.append(shown.pop(0))
        needed[code] = (len(folded) - len(small), sizes)
    return floor, needed


def hidden_cells(view: dict[str, Any]) -> set[tuple[str, str]]:
    return {(entry["member"], entry["period"]) for entry in view["withheld"]}


def subtractable(view: dict[str, Any], raw: Cells) -> list[str]:
    """The members of which total minus shown months is a figure about too few subjects.

    A member's shown months and its total are the whole of what is published of it; months are
    disjoint, so every combination of published figures is a sum of months and of this remainder.
    """
    hidden = hidden_cells(view)
    found = []
    for member in view["members"]:
        code = member["member"]
        remainder = [(code, month) for month in MONTHS if (code, month) in hidden]
        if 0 < subjects(raw, remainder) < FLOOR:
            found.append(code)
    return found


def group_of(group: int) -> list[int]:
    """The live processes of one process group."""
    return [pid for pid, its_group in processes() if its_group == group]


def processes() -> Iterator[tuple[int, int]]:
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            try:
                fields = (directory / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if fields[0] != "Z":
                yield int(directory.name), int(fields[2])


def wait_until(condition: Callable[[], bool], timeout_s: float = 60.0) -> None:
    """Wait for another process to reach a state; the limit only ends a hopeless wait."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.05)
