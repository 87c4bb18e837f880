"""The ledger: what an append costs beside hashing and one sync, what opening costs, and intake."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks import ingest
from benchmarks._contest import Spread
from benchmarks._report import Bar, Report
from benchmarks._versions import in_force
from psp.ledger import Ledger, check_ledger, hash_leaf, verify_inclusion

BARS: Final = {
    "fsyncs_per_batch": Bar(at_most=1),
    "append_1000_vs_hash_and_sync": Bar(at_most=4),
    "open_10m_vs_1m": Bar(at_most=3),
    **ingest.BARS,
}

ORIGIN: Final = "example.com/benchmark"
BATCH: Final = 1_000
ENTRY_BYTES: Final = 300
GROWTH_ENTRY_BYTES: Final = 8
GROWTH_BATCH: Final = 16_384
"""The most that one batch may hold."""

MEMORY: Final = "/dev/shm"

SIZES: Final = (10_000, 100_000, 1_000_000, 10_000_000)
SIZES_QUICK: Final = (1_000, 10_000, 100_000)


class Key:
    """A key for signing checkpoints."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public_bytes = self._private.public_key().public_bytes_raw()

    def sign(self, data: bytes, /) -> bytes:
        return self._private.sign(data)


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure everything; about three minutes and 1 GB of memory, or some seconds if `quick`."""
    report = Report("ledger", BARS)
    with tempfile.TemporaryDirectory() as name:
        _measure_append(Path(name), report, rounds=6 if quick else 60)
    # Ten million entries are 80,000 files, each with its own sync: in memory they take a minute.
    # What is opened and proved there comes from memory on a disk too, once it has been read.
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    report.limits["growth_directory"] = memory or tempfile.gettempdir()
    with tempfile.TemporaryDirectory(dir=memory) as name:
        _measure_growth(Path(name), report, SIZES_QUICK if quick else SIZES, quick=quick)
    ingest.measure(report, quick=quick)
    report.limits["entry_bytes"] = {"append": ENTRY_BYTES, "growth": GROWTH_ENTRY_BYTES}
    report.limits.update(in_force())
    return report.to_json()


def _measure_append(directory: Path, report: Report, *, rounds: int) -> None:
    """Let an append and its bare necessities take turns: hash, write, one sync."""
    key = Key()
    entries = [os.urandom(ENTRY_BYTES) for _ in range(BATCH)]
    syncs, ours, bare, tiles = [], [], [], []
    with (
        Ledger.create(directory / "append", origin=ORIGIN, key=key) as ledger,
        (directory / "bare").open("wb", buffering=0) as file,
        _counted_syncs() as counts,
    ):
        for _ in range(rounds):
            before = len(counts)
            ours.append(_seconds(lambda: ledger.append(entries)))
            syncs.append(len(counts) - before)
            bare.append(_seconds(lambda: _hash_and_sync(file.fileno(), entries)))
            # After the acknowledgement, so on neither clock; and the journal is never full.
            tiles.append(_seconds(ledger.write_tiles))
    report.add("fsyncs_per_batch", Spread.of([float(count) for count in syncs]))
    ratios = [a / b for a, b in zip(ours, bare, strict=True)]
    report.add("append_1000_vs_hash_and_sync", Spread.of(ratios))
    for title, seconds in (
        ("append", ours),
        ("hash_and_sync", bare),
        ("tiles_written_afterwards", tiles),
    ):
        report.note("milliseconds_per_1000", title, Spread.of([s * 1e3 for s in seconds]))
    report.figures["entries_per_second_appended"] = round(BATCH / statistics.median(ours))


def _hash_and_sync(descriptor: int, entries: Sequence[bytes]) -> None:
    for entry in entries:
        sha256(b"\x00" + entry).digest()
    os.write(descriptor, b"".join(entries))
    os.fdatasync(descriptor)


@contextmanager
def _counted_syncs() -> Iterator[list[str]]:
    """Count every sync that this process asks for."""
    counts: list[str] = []
    real = os.fsync, os.fdatasync

    def counted(name: str, call: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            counts.append(name)
            call(descriptor)

        return sync

    os.fsync, os.fdatasync = (counted(call.__name__, call) for call in real)  # type: ignore[assignment]
    try:
        yield counts
    finally:
        os.fsync, os.fdatasync = real


def _measure_growth(directory: Path, report: Report, sizes: Sequence[int], *, quick: bool) -> None:
    """Grow a ledger through the sizes; keep the last two side by side to open them in turn."""
    key = Key()
    growth: dict[str, object] = {}
    report.figures["growth"] = growth
    small, large = directory / "small", directory / "large"
    for size in sizes[:-1]:
        growth[str(size)] = _grown(small, key, size)
    growth[str(sizes[-1])] = _grown(large, key, sizes[-1])
    taken: dict[Path, list[float]] = {small: [], large: []}
    for _ in range(3 if quick else 15):
        for home, times in taken.items():
            times.append(_seconds(lambda home=home: _open(home, key)))  # type: ignore[misc]
    pairs = zip(taken[large], taken[small], strict=True)
    report.add("open_10m_vs_1m", Spread.of([many / few for many, few in pairs]))
    for home, size in ((small, sizes[-2]), (large, sizes[-1])):
        report.note("open_milliseconds", str(size), Spread.of([s * 1e3 for s in taken[home]]))
    if quick:
        report.limits["quick"] = (
            f"open_10m_vs_1m is of {sizes[-1]:,} and {sizes[-2]:,} entries here; few samples"
        )
    report.figures["fsck_seconds"] = {
        str(sizes[-2]): round(
            _seconds(lambda: check_ledger(small, origin=ORIGIN, public_key=key.public_bytes)), 2
        )
    }


def _grown(home: Path, key: Key, size: int) -> dict[str, object]:
    """Append until a ledger has `size` entries; give its figures there."""
    if home.exists():
        ledger = Ledger.open(home, origin=ORIGIN, public_key=key.public_bytes, key=key)
    else:
        ledger = Ledger.create(home, origin=ORIGIN, key=key)
    first = ledger.checkpoint.tree_size
    start = time.perf_counter()
    with ledger:
        for index in range(first, size, GROWTH_BATCH):
            end = min(index + GROWTH_BATCH, size)
            ledger.append([n.to_bytes(GROWTH_ENTRY_BYTES, "big") for n in range(index, end)])
    seconds = time.perf_counter() - start
    held, used = _bytes(home)
    return {
        "entries_per_second": round((size - first) / seconds),
        "bytes_per_entry": round(held / size, 2),
        "disk_bytes_per_entry": round(used / size, 2),
        **_proofs(home, key, size),
    }


def _proofs(home: Path, key: Key, size: int) -> dict[str, object]:
    """Time proofs all over a ledger that was just opened, tiles read and verified."""
    inclusion, consistency, verification = [], [], []
    ledger = _open(home, key)
    for number in range(50):
        index = size * number // 50
        inclusion.append(_seconds(lambda i=index: ledger.prove_inclusion(i, size)))  # type: ignore[misc]
        proof = ledger.prove_inclusion(index, size)
        leaf = hash_leaf(index.to_bytes(GROWTH_ENTRY_BYTES, "big"))
        verification.append(
            _seconds(lambda: verify_inclusion(leaf, index, proof, ledger.checkpoint))  # noqa: B023
        )
        consistency.append(_seconds(lambda i=index: ledger.prove_consistency(i, size)))  # type: ignore[misc]
    return {
        "inclusion_proof_us": _median_us(inclusion),
        "consistency_proof_us": _median_us(consistency),
        "inclusion_verified_us": _median_us(verification),
        "open_ms": round(_seconds(lambda: _open(home, key)) * 1e3, 2),
    }


def _open(home: Path, key: Key) -> Ledger:
    return Ledger.open(home, origin=ORIGIN, public_key=key.public_bytes)


def _bytes(home: Path) -> tuple[int, int]:
    """Return what the files hold, the journal's hole left out, and what they take of the disk."""
    found = [path.stat() for path in (home / "tile").rglob("*") if path.is_file()]
    return sum(it.st_size for it in found), sum(it.st_blocks * 512 for it in found)


def _seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def _median_us(seconds: Sequence[float]) -> float:
    return round(statistics.median(seconds) * 1e6, 1)
