"""The benchmarks as a user runs them, briefly. Their numbers are read by people: never tested."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from benchmarks._contest import ContestantFailedError, Spread, hall
from benchmarks._report import Bar, Report, table

ROOT = Path(__file__).parent.parent.parent
PEERS_ARE_HERE = all(map(find_spec, ("capnp", "grpc", "pyarrow", "uvloop")))

RPC_KEYS = {
    "rtt_vs_pycapnp",
    "rtt_vs_grpc_aio",
    "rtt_vs_flight",
    "rtt_vs_raw_tls",
    "concurrent_vs_pycapnp",
    "concurrent_vs_grpc_aio",
    "batch_vs_pycapnp",
    "chain10_vs_pycapnp",
    "small_call_p99_under_bulk",
}
BULK_KEYS = {
    "bulk_vs_raw_tls",
    "bulk_vs_flight",
    "bulk_vs_grpc",
    "bulk_vs_trio_sslstream",
    "query_bulk_vs_flight",
    "peak_rss_stream_vs_window",
}
LOCAL_KEYS = {"local_vs_one_write", "local_sealed_1gib_vs_1mib", "local_vs_flight_unix"}
INGEST_KEYS = {"ingest_vs_duckdb_csv", "ingest_sqlite_vs_duckdb_csv"}
LEDGER_KEYS = {
    "fsyncs_per_batch",
    "append_1000_vs_hash_and_sync",
    "open_10m_vs_1m",
    *INGEST_KEYS,
}
CAPABILITY_KEYS = {
    "chain3_verify_vs_3_raw_verifies",
    "cached_present_vs_raw_verify",
    "reject_wrong_presenter_vs_raw_verify",
}
BISCUIT_KEYS = {"biscuit_2block_verify_vs_ours"} if find_spec("biscuit_auth") else set()
QUERY_KEYS = {
    "row_read_vs_null_call",
    "row_read_before_answer_vs_null_call",
    "row_read_before_answer_100_callers",
    "group_vs_same_facts_sql",
    "audit_overhead_200_queries",
}
FLEET_KEYS = {
    "fanout_1000_vs_one",
    "slowest_vs_median",
    "combine_vs_duckdb_union",
    "greedy_tenant_p99",
}
WAN_KEYS = {"chain10_round_trips", "cold_round_trips", "cold_round_trips_interactive"}

# A process that starts a hall, says who is in it, and waits.
IN_THE_HALL = """
from benchmarks._contest import hall
from benchmarks.peers._child import Setting
with hall() as place:
    contestant = place.start("echo", "raw_tls")
    # Nothing but the end of its parent can end a proxy that nobody has connected to.
    proxy = place.child("proxy", "far", "serve", Setting(str(place.directory), port=9))
    proxy.hear()
    print(contestant.server.pid, contestant.driver.pid, proxy.pid, flush=True)
    input()
"""


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )


def quick(name: str) -> dict[str, Any]:
    done = run_benchmark(name, "--json", "--quick")
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def wait_until_gone(pids: list[int]) -> None:
    """Wait for processes to end; zombies of a killed parent are init's, and count as ended."""
    for pid in pids:
        for _ in range(600):
            if not alive(pid):
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"process {pid} outlives its benchmark")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def check_result(result: dict[str, Any], keys: set[str]) -> None:
    assert set(result["ratios"]) == keys
    for key, ratio in result["ratios"].items():
        least, most = result["figures"]["spread"][key]
        assert 0 < least <= ratio <= most < math.inf
    assert set(result["limits"]["bars"]) == keys
    assert result["limits"]["psp"]["calls_in_flight"] == 16_384


@pytest.mark.slow
@pytest.mark.skipif(not PEERS_ARE_HERE, reason="needs psp-protocol[bench]: `make bench`")
def test_calls_are_compared_with_every_peer() -> None:
    result = quick("rpc")

    check_result(result, RPC_KEYS)
    figures = result["figures"]
    assert set(figures["outstanding_us_per_call"]) == {"1", "10", "100", "1000", "10000"}
    assert set(figures["memory_bytes"]) == {"idle_connection", "outstanding_call"}
    assert {"rtt_vs_pycapnp_uvloop", "rtt_async_vs_pycapnp"} <= set(figures["ratios_beside"])
    assert figures["null of psp"]["cpu_us"][0] > 0
    assert set(result["limits"]["tls"].values()) == {"TLSv1.3"}


@pytest.mark.slow
@pytest.mark.skipif(not PEERS_ARE_HERE, reason="needs psp-protocol[bench]: `make bench`")
def test_large_results_are_compared_with_every_peer() -> None:
    result = quick("bulk")
    check_result(result, BULK_KEYS)
    check_result(quick("local"), LOCAL_KEYS)
    assert result["figures"]["bulk of psp"]["bytes_through_the_control_buffer"] == [0, 0, 0]


@pytest.mark.slow
def test_a_ledger_is_compared_with_hashing_and_one_sync() -> None:
    result = quick("ledger")

    check_result(result, LEDGER_KEYS)
    assert result["ratios"]["fsyncs_per_batch"] == 1
    assert set(result["figures"]["growth"]) == {"1000", "10000", "100000"}
    assert "100,000 and 10,000" in result["limits"]["quick"]


@pytest.mark.slow
def test_grants_are_compared_with_bare_signatures_and_biscuit() -> None:
    result = quick("capability")

    assert set(result["ratios"]) == CAPABILITY_KEYS | BISCUIT_KEYS
    assert set(result["limits"]["bars"]) == CAPABILITY_KEYS | {"biscuit_2block_verify_vs_ours"}
    figures = result["figures"]
    assert "chain3_first_time" in figures["ratios_beside"]
    assert figures["bytes"]["per link"][0] > 0
    assert figures["per_second"]["meets"][0] > 0


@pytest.mark.slow
def test_distance_is_counted_in_round_trips() -> None:
    result = quick("wan")

    check_result(result, WAN_KEYS)
    # No answer can come sooner; a slow machine only makes these larger.
    assert result["ratios"]["chain10_round_trips"] >= 1
    # TCP, TLS, and the first query.
    assert result["ratios"]["cold_round_trips"] >= 3
    assert result["ratios"]["cold_round_trips_interactive"] >= 3


@pytest.mark.slow
def test_answers_are_compared_with_null_calls_and_bare_sql() -> None:
    result = quick("query")

    check_result(result, QUERY_KEYS)
    assert set(result["figures"]["ratios_beside"]) == {
        "audit_overhead_200_queries_flights",
        "durable_write_vs_null_call",
        "row_read_before_answer_without_the_write_vs_null_call",
    }
    assert result["figures"]["refused_for_earlier_answers"]
    assert set(result["figures"]["row_reads_per_s_100_callers"]) == {"before-answer", "within-1s"}


@pytest.mark.slow
def test_a_fleet_is_asked_combined_and_reconciled() -> None:
    result = quick("fleet")

    check_result(result, FLEET_KEYS)
    figures = result["figures"]
    assert figures["simulated_answered"]["10"][0] == 10
    assert figures["reconciliation"]["changes_found"][0] == 40


@pytest.mark.slow
def test_the_profile_times_every_layer() -> None:
    figures = quick("profile")["figures"]

    assert set(figures["us_per_call"]) == set(figures["layers"])
    assert all(median > 0 for median, _, _ in figures["us_per_call"].values())


def test_a_missing_peer_is_named_with_the_command_that_brings_it() -> None:
    program = (
        "import sys; sys.modules['capnp'] = None; from benchmarks.rpc import run; run(quick=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 1
    assert "capnp" in done.stderr
    assert "pip install psp-protocol[bench]" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_contestant_that_ends_fails_the_run_and_leaves_nobody_behind() -> None:
    with hall() as place:
        contestant = place.start("echo", "raw_tls")
        pids = [contestant.server.pid, contestant.driver.pid]
        os.kill(contestant.driver.pid, signal.SIGKILL)
        with pytest.raises(ContestantFailedError, match="drive process of echo"):
            contestant.measure("null", 10)

    assert not any(map(alive, pids))


def test_children_end_even_when_the_benchmark_is_killed() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", IN_THE_HALL],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 3
        parent.kill()

    wait_until_gone(pids)


def test_a_table_says_which_bar_is_not_held() -> None:
    report = Report("example", {"fast": Bar(at_least=2.0), "small": Bar(at_most=3.0)})
    report.add("fast", Spread(1.5, 1.0, 2.5))
    report.add("small", Spread(2.5, 2.0, 4.0))
    report.add("beside", Spread(7.0, 6.0, 8.0))

    lines = table(report.to_json()).splitlines()

    assert lines[1].split() == ["fast", "1.5", "1", "..", "2.5", ">=", "2", "not", "held"]
    assert lines[2].split() == ["small", "2.5", "2", "..", "4", "<=", "3"]
    assert report.to_json()["figures"] == {
        "spread": {"fast": [1.0, 2.5], "small": [2.0, 4.0]},
        "ratios_beside": {"beside": Spread(7.0, 6.0, 8.0)},
    }


def test_ingest_measures_the_flights_beside_duckdb() -> None:
    done = run_benchmark("ingest", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["ratios"]) == INGEST_KEYS
    assert result["figures"]["ingest_rows"] == 2_000
