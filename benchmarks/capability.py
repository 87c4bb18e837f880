"""Grants: what verifying a chain costs beside bare signatures, and beside Biscuit's of two blocks.

A chain can cost no less than its signatures: OpenSSL checks one in some 60 µs, and three links have
three. So the ratios say what everything else adds. Samples of a pair are taken one after the other,
since this kind of machine changes its pace; and they are CPU time, which others on it cannot take.

What the library remembers between calls (docs/capabilities.md, "What it costs") it remembers here,
too: a link's meaning, a meet, a name, a key. Beside stands each ratio without it: `…_first_time`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks._contest import Spread
from benchmarks._report import Bar, Report
from benchmarks._versions import in_force
from psp.capability import (
    Anchor,
    Operation,
    Scope,
    TableRule,
    archive_id_of,
    between,
    ceiling,
    decode_chain_untrusted,
    issue,
    narrow,
    sign_anchor,
    verify_anchor_untrusted,
    verify_signature,
    verify_untrusted,
)
from psp.capability._keys import _loaded
from psp.capability._link import _decode_untrusted, _meet
from psp.capability._wire import check_name
from psp.errors import GrantRefused
from psp.totebox import Archive, Column, ColumnType, Manifest, Table
from psp.totebox._service import Desk
from psp.transport import MachineKey, Peer

BARS: Final = {
    "chain3_verify_vs_3_raw_verifies": Bar(at_most=1.4),
    "cached_present_vs_raw_verify": Bar(at_most=0.05),
    "reject_wrong_presenter_vs_raw_verify": Bar(at_most=0.5),
    "biscuit_2block_verify_vs_ours": Bar(at_least=0.7),
}

NOW: Final = 1_790_000_000
ROUNDS: Final = 60
CALLS: Final = 50
_NONCE: Final = bytes(16)

_RULE: Final = TableRule(
    operations=frozenset({Operation.COUNT, Operation.MEAN}),
    output=frozenset({"price"}),
    filters=frozenset({"zipcode"}),
    rows={"price": between(None, 500_000)},
    aggregates_only=True,
    floor=10,
)
SCOPE: Final = Scope({"sales": _RULE})


def run(*, quick: bool = False) -> dict[str, object]:
    """Measure everything in about ten seconds."""
    report = Report("capability", BARS)
    rounds = 3 if quick else ROUNDS
    owner, anchor_key, *people = (MachineKey(Ed25519PrivateKey.generate()) for _ in range(6))
    anchor = _found(owner, anchor_key)
    tokens = _tokens(anchor, anchor_key, people)
    under = ceiling("ADMIN", {"sales": ("price", "zipcode")}, 1)

    def verify(links: int, presenter: MachineKey) -> None:
        verify_untrusted(
            tokens[links - 1],
            anchor=anchor,
            presenter=presenter.spki_hash,
            ceiling=under,
            now_s=NOW,
        )

    def reject() -> None:
        with suppress(GrantRefused):
            verify(3, people[3])

    chain = decode_chain_untrusted(tokens[2])
    signed = [
        (it.link.issuer, message, it.signature)
        for it, message in zip(chain.signed, chain.messages(), strict=True)
    ]

    def three_raw() -> None:
        for key, message, signature in signed:
            verify_signature(key, message, signature)

    def first_time(links: int) -> None:
        for remembered in (_decode_untrusted, _meet, check_name, _loaded):
            remembered.cache_clear()
        verify(links, people[links - 1])

    one_raw = partial(verify_signature, *signed[2])
    _pair(
        report, "chain3_verify_vs_3_raw_verifies", partial(verify, 3, people[2]), three_raw, rounds
    )
    _pair(report, "reject_wrong_presenter_vs_raw_verify", reject, one_raw, rounds)
    _pair(report, "chain3_first_time", partial(first_time, 3), three_raw, rounds)
    with _served() as again:
        _pair(report, "cached_present_vs_raw_verify", again, one_raw, rounds)
    # Two sources for Biscuit: one that says what our two links say, and the shortest that decides.
    same, short = _biscuit(_SAME, _SAME_ASKED), _biscuit(_SHORT, _SHORT_ASKED)
    if same is not None and short is not None:
        ours, ours_first = partial(verify, 2, people[1]), partial(first_time, 2)
        _pair(report, "biscuit_2block_verify_vs_ours", same, ours, rounds)
        _pair(report, "biscuit_2block_verify_vs_ours_first_time", same, ours_first, rounds)
        _pair(report, "biscuit_2block_short_vs_ours", short, ours, rounds)
    for links, token in enumerate(tokens, start=1):
        _figure(report, "bytes", f"{links} links", len(token))
        cost = Spread.of([_us(partial(verify, links, people[links - 1])) for _ in range(rounds)])
        report.note("verify_us", f"{links} links", cost)
    _figure(report, "bytes", "per link", (len(tokens[3]) - len(tokens[0])) // 3)
    rates = [1e6 / _us(lambda: under.meet(SCOPE)) for _ in range(rounds)]
    report.note("per_second", "meets", Spread.of(rates))
    report.note("raw_verify_us", "one", Spread.of([_us(one_raw) for _ in range(rounds)]))
    report.limits["biscuit"] = "measured" if same else "biscuit-python is not installed"
    report.limits.update(in_force())
    return report.to_json()


def _found(owner: MachineKey, anchor_key: MachineKey) -> Anchor:
    statement = sign_anchor(
        owner,
        anchor_keys=[anchor_key.public_bytes],
        ledger_key=owner.public_bytes,
        epoch=1,
        version=1,
        nonce=_NONCE,
    )
    return verify_anchor_untrusted(statement, archive_id=archive_id_of(owner.public_bytes, _NONCE))


def _tokens(anchor: Anchor, anchor_key: MachineKey, people: list[MachineKey]) -> list[bytes]:
    """Make the same grant with one link, two, three and four."""
    tokens = [_first(anchor_key, anchor.archive_id, people[0], NOW)]
    for at in (1, 2, 3):
        tokens.append(
            narrow(
                tokens[-1],
                people[at - 1],
                holder=people[at].public_bytes,
                presenter=people[at].spki_hash,
                scope=SCOPE,
                not_before_s=NOW,
                not_after_s=NOW + 3600,
                depth=3 - at,
                nonce=_NONCE,
            )
        )
    return tokens


def _first(anchor_key: MachineKey, archive_id: bytes, holder: MachineKey, now_s: int) -> bytes:
    return issue(
        anchor_key,
        archive_id=archive_id,
        epoch=1,
        holder=holder.public_bytes,
        presenter=holder.spki_hash,
        scope=SCOPE,
        not_before_s=now_s,
        not_after_s=now_s + 3600,
        depth=3,
        nonce=_NONCE,
    )


_ID: Final = "hex:" + 32 * "5a"
# Ours names the archive, the presenter and the window in every link, so these blocks do.
_BLOCK: Final = f"""
    check if time($t), $t >= {NOW}, $t < {NOW + 3600};
    check if archive($a), $a == {_ID};
    check if presenter($p), $p == {_ID};
    check if operation($o), ["count", "mean"].contains($o);
    check if output($c), ["price"].contains($c);
    check all filter($c), ["zipcode"].contains($c);
    check if row_price($p), $p <= 500000;
    check if floor($f), $f >= 10
"""
_SAME: Final = ('right("sales", "count"); right("sales", "mean");' + _BLOCK, _BLOCK)
_SAME_ASKED: Final = f"""
    time({NOW}); archive({_ID}); presenter({_ID}); operation("count"); output("price");
    filter("zipcode"); row_price(500000); floor(10); allow if right("sales", "count")
"""
_SHORT: Final = (
    'right("sales", "count"); right("sales", "mean"); column("sales", "price")',
    f'check if time($time), $time < {NOW + 3600}; check if operation("count")',
)
_SHORT_ASKED: Final = f'time({NOW}); operation("count"); allow if right("sales", "count")'


def _biscuit(blocks: tuple[str, str], asked: str) -> Callable[[], object] | None:
    """Give a decision of Biscuit: two blocks parsed, verified and authorized."""
    try:
        from biscuit_auth import AuthorizerBuilder, Biscuit, BiscuitBuilder, BlockBuilder, KeyPair
    except ImportError:
        return None
    root = KeyPair()
    first, second = blocks
    token = BiscuitBuilder(first).build(root.private_key).append(BlockBuilder(second))
    data, public = bytes(token.to_bytes()), root.public_key

    def verify() -> None:
        builder: Any = AuthorizerBuilder(asked)  # Its stubs do not know of limits.
        # A millisecond by default, which a machine with other work to do overruns.
        limits = builder.limits()
        limits.max_time = timedelta(seconds=1)
        builder.set_limits(limits)
        builder.build(Biscuit.from_bytes(data, public)).authorize()

    verify()  # An error is one of this benchmark, and better found here than measured.
    return verify


@contextmanager
def _served() -> Iterator[Callable[[], object]]:
    """Give what shows a served archive one token of one link again, over one connection."""
    owner, anchor_key, ledger_key, box, person = (
        MachineKey(Ed25519PrivateKey.generate()) for _ in range(5)
    )
    archive_id, now_s = archive_id_of(owner.public_bytes, _NONCE), int(time.time())
    statement = sign_anchor(
        owner,
        anchor_keys=[anchor_key.public_bytes],
        ledger_key=ledger_key.public_bytes,
        epoch=1,
        version=1,
        nonce=_NONCE,
    )
    table = Table(
        name="sales", columns=(Column(name="price", type=ColumnType.INTEGER),), key=("price",)
    )
    token = _first(anchor_key, archive_id, person, now_s)
    with (
        tempfile.TemporaryDirectory() as directory,
        Archive.create(
            Path(directory) / "archive",
            Manifest(
                name="bench", archive_id=archive_id, module_id="homes", tables=(table,), floor=1
            ),
            machine_key=box,
            ledger_key=ledger_key,
            anchor_statement=statement,
            now=datetime.now(UTC),
        ) as archive,
    ):
        archive.pair("person", person.certificate_pem, "ADMIN")
        desk = Desk(archive, lambda text: None)
        peer = Peer(person.spki_hash, person.public_bytes, "person")
        connection = desk.bootstrap(peer)
        yield lambda: desk.present(peer, token)
        del connection  # Until here: what was verified is remembered as long as it lasts.


def _pair(
    report: Report, key: str, over: Callable[[], object], under: Callable[[], object], rounds: int
) -> None:
    report.add(key, Spread.of([_us(over) / _us(under) for _ in range(rounds)]))


def _us(do: Callable[[], object]) -> float:
    """Give the CPU time of one call, of the quickest of three runs: noise only ever adds."""
    best = float("inf")
    for _ in range(3):
        start = time.thread_time()
        for _ in range(CALLS):
            do()
        best = min(best, time.thread_time() - start)
    return best / CALLS * 1e6


def _figure(report: Report, title: str, key: str, value: float) -> None:
    report.note(title, key, Spread(value, value, value))
