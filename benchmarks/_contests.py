"""Who meets whom at what, what must come out, and how much is measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from benchmarks._report import Bar


class Peer(NamedTuple):
    """A contestant: the module that it is in, and the loop it runs on."""

    module: str
    loop: str = "asyncio"


PEERS: Final[Mapping[str, Peer]] = {
    "pycapnp": Peer("pycapnp"),
    "pycapnp_uvloop": Peer("pycapnp", "uvloop"),
    "grpc_aio": Peer("grpc_aio"),
    "grpc_aio_uvloop": Peer("grpc_aio", "uvloop"),
    "grpc_sync": Peer("grpc_sync"),
    "flight": Peer("flight"),
    "raw_tls": Peer("raw_tls"),
}


class Contest(NamedTuple):
    """One task at which ours meets some of the peers.

    Attributes:
        key: The ratio of a peer is `{key}_vs_{peer}`.
        ours: What our driver is asked to do.
        theirs: What theirs are.
        figure: What a sample is looked at for: `median_us`, or `calls_per_s`.
        calls: In one sample.
    """

    key: str
    ours: str
    theirs: str
    figure: str
    calls: int
    peers: tuple[str, ...]

    def names(self, peer: str) -> str:
        return f"{self.key}_vs_{peer}"

    def is_ours_over_theirs(self, peer: str) -> bool:
        """Whether the ratio is ours / theirs: of rates, and where a floor is compared with."""
        return self.figure == "calls_per_s" or peer == "raw_tls"


_CAPNP = ("pycapnp", "pycapnp_uvloop")
_GRPC = ("grpc_aio", "grpc_aio_uvloop")
# A peer's handlers are always `async def`; ours are plain functions unless they wait.
_ASYNC_TOO = ("pycapnp", "grpc_aio")

CONTESTS: Final = (
    Contest("rtt", "null", "null", "median_us", 500, tuple(PEERS)),
    # Through a typed stub, as most programs call.
    Contest("rtt_stub", "null_stub", "null", "median_us", 500, ("pycapnp",)),
    Contest("rtt_async", "null_async", "null", "median_us", 500, _ASYNC_TOO),
    Contest("concurrent", "concurrent", "concurrent", "calls_per_s", 3_000, (*_CAPNP, *_GRPC)),
    Contest("concurrent_async", "concurrent_async", "concurrent", "calls_per_s", 3_000, _ASYNC_TOO),
    Contest("batch", "batch", "batch", "calls_per_s", 20_000, _CAPNP),
    # The same with `asyncio.gather` at the peer, which is the other documented way to await many.
    Contest("batch_gathered", "batch", "gathered", "calls_per_s", 20_000, ("pycapnp",)),
    Contest("batch_async", "batch_async", "batch", "calls_per_s", 20_000, ("pycapnp",)),
    Contest("chain10", "chain10", "chain10", "median_us", 100, _CAPNP),
    # Each answer on the way comes back as well, as a peer's does.
    Contest("chain10_kept", "chain10_kept", "chain10", "median_us", 100, ("pycapnp",)),
)

SMALL_UNDER_BULK: Final = "small_call_p99_under_bulk"

BARS: Final = {
    "rtt_vs_pycapnp": Bar(at_least=2.0),
    "rtt_vs_grpc_aio": Bar(at_least=3.5),
    "rtt_vs_flight": Bar(at_least=1.4),
    "rtt_vs_raw_tls": Bar(at_most=3.5),
    "concurrent_vs_pycapnp": Bar(at_least=4),
    "concurrent_vs_grpc_aio": Bar(at_least=8),
    "batch_vs_pycapnp": Bar(at_least=9),
    "chain10_vs_pycapnp": Bar(at_least=4),
    SMALL_UNDER_BULK: Bar(at_most=8),
}

OUTSTANDING: Final = (1, 10, 100, 1_000, 10_000)


class Effort(NamedTuple):
    """How much is measured.

    Attributes:
        rounds: Samples of each pair.
        share: Of the calls that a contest has in a sample.
        ticks: Half milliseconds that small calls are timed for, alone and under a stream.
        connections: Idle ones whose memory is looked at.
        held: Outstanding calls whose memory is looked at.
    """

    rounds: int
    share: float
    ticks: int
    connections: int
    held: int

    def calls(self, contest: Contest) -> int:
        # 100 tasks make at least one call each.
        return max(int(contest.calls * self.share), 100)


FULL: Final = Effort(rounds=7, share=1.0, ticks=1_000, connections=200, held=10_000)
QUICK: Final = Effort(rounds=1, share=0.02, ticks=40, connections=4, held=100)
"""Shows that everything works, and measures nothing."""
