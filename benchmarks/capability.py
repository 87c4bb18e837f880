"""Grants: what verifying a chain costs beside bare signatures, and beside Biscuit's of two blocks.

A chain can cost no less than its signatures: OpenSSL checks one in some 60 µs, and three links have
three. So the ratios say what everything else adds. Samples of a pair are taken one after the other,
since this kind of machine changes its pace.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
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
from psp.capability._link import _decode_untrusted
from psp.errors import GrantRefused
from psp.transport import MachineKey

BARS: Final = {
    "chain3_verify_vs_3_raw_verifies": Bar(at_most=1.4),
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

    def cold() -> None:
        _decode_untrusted.cache_clear()
        verify(3, people[2])

    one_raw = partial(verify_signature, *signed[2])
    _pair(
        report, "chain3_verify_vs_3_raw_verifies", partial(verify, 3, people[2]), three_raw, rounds
    )
    _pair(report, "reject_wrong_presenter_vs_raw_verify", reject, one_raw, rounds)
    # The same where no link was ever read before: the first time that a token comes.
    _pair(report, "chain3_first_time_vs_3_raw_verifies", cold, three_raw, rounds)
    biscuit = _biscuit()
    if biscuit is not None:
        ours = partial(verify, 2, people[1])
        _pair(report, "biscuit_2block_verify_vs_ours", biscuit, ours, rounds)
    for links, token in enumerate(tokens, start=1):
        _figure(report, "bytes", f"{links} links", len(token))
        cost = Spread.of([_us(partial(verify, links, people[links - 1])) for _ in range(rounds)])
        report.note("verify_us", f"{links} links", cost)
    _figure(report, "bytes", "per link", (len(tokens[3]) - len(tokens[0])) // 3)
    rates = [1e6 / _us(lambda: under.meet(SCOPE)) for _ in range(rounds)]
    report.note("per_second", "meets", Spread.of(rates))
    report.note("raw_verify_us", "one", Spread.of([_us(one_raw) for _ in range(rounds)]))
    report.limits["biscuit"] = "measured" if biscuit else "biscuit-python is not installed"
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
    tokens = [
        issue(
            anchor_key,
            archive_id=anchor.archive_id,
            epoch=1,
            holder=people[0].public_bytes,
            presenter=people[0].spki_hash,
            scope=SCOPE,
            not_before_s=NOW,
            not_after_s=NOW + 3600,
            depth=3,
            nonce=_NONCE,
        )
    ]
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


def _biscuit() -> Callable[[], object] | None:
    """Give the same decision of Biscuit: two blocks parsed, verified and authorized."""
    try:
        from biscuit_auth import AuthorizerBuilder, Biscuit, BiscuitBuilder, BlockBuilder, KeyPair
    except ImportError:
        return None
    root = KeyPair()
    source = 'right("sales", "count"); right("sales", "mean"); column("sales", "price")'
    checks = f'check if time($time), $time < {NOW + 3600}; check if operation("count")'
    token = BiscuitBuilder(source).build(root.private_key).append(BlockBuilder(checks))
    data, public = bytes(token.to_bytes()), root.public_key
    asked = f'time({NOW}); operation("count"); allow if right("sales", "count")'

    def verify() -> None:
        builder: Any = AuthorizerBuilder(asked)  # Its stubs do not know of limits.
        # A millisecond by default, which a machine with other work to do overruns.
        limits = builder.limits()
        limits.max_time = timedelta(seconds=1)
        builder.set_limits(limits)
        builder.build(Biscuit.from_bytes(data, public)).authorize()

    verify()  # An error is one of this benchmark, and better found here than measured.
    return verify


def _pair(
    report: Report, key: str, over: Callable[[], object], under: Callable[[], object], rounds: int
) -> None:
    report.add(key, Spread.of([_us(over) / _us(under) for _ in range(rounds)]))


def _us(do: Callable[[], object]) -> float:
    """Give the time of one call, of the quickest of three runs: noise only ever adds."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(CALLS):
            do()
        best = min(best, time.perf_counter() - start)
    return best / CALLS * 1e6


def _figure(report: Report, title: str, key: str, value: float) -> None:
    report.note(title, key, Spread(value, value, value))
