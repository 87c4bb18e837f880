"""`psp attack` against an archive that holds, and against archives with a planted hole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from psp.attack import AttackReport, Verdict, attack_member
from psp.capability import Grant, decode_chain_untrusted, verify_untrusted
from psp.errors import EstateError, GrantRefused, Unreachable
from psp.estate import Estate, TenantPolicy, create_estate, draft_estate
from psp.rpc import CallReady
from psp.totebox import _service, _shown, serve_archive
from psp.totebox._invocations import Invocations
from psp.totebox._service import Desk

POLICY = TenantPolicy(name="office", sentence="", pairing="INTERFACE", objects={})

# What each attack must be stopped by, as the archive's own checks name it.
RULES = {
    "unpaired machine": {"pairing"},
    "stolen token": {"presenter"},
    "expired": {"time"},
    "too early": {"time"},
    "too long": {"time"},
    "wrong archive": {"archive"},
    "wrong epoch": {"epoch"},
    "own anchor": {"chain"},
    "splice": {"signature"},
    "dropped link": {"chain"},
    "doubled link": {"chain"},
    "after the end": {"chain"},
    "re-signed body": {"signature"},
    "changed body": {"signature"},
    "bare signature": {"signature"},
    "unknown extension": {"critical"},
    "weak key": {"decode"},
    "second encoding": {"decode"},
    "widening": {"scope"},
    "more than the pairing": {"scope"},
    "replay": {"invocation"},
    "tampered command": {"invocation"},
    "unsigned call": {"invocation"},
    "forged call": {"invocation"},
    "held-back call": {"invocation"},
    "another grant's call": {"invocation"},
    "pipelined hidden value": {"floor"},
}


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    file = tmp_path / "tower.csv"
    file.write_text("id,rent\n" + "".join(f"{number},{1000 + number}\n" for number in range(9)))
    return create_estate(draft_estate(tmp_path / "flats", [file]), tenants=(POLICY,))


@pytest.fixture(autouse=True)
def _started_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives that have been served for five seconds, and take signed calls at once."""

    def earlier(archive_id: bytes, started_s: int, *rest: Any) -> Invocations:
        return Invocations(archive_id, started_s - 5, *rest)

    monkeypatch.setattr(_service, "Invocations", earlier)


@asynccontextmanager
async def served(estate: Estate) -> AsyncIterator[list[str]]:
    (member,) = estate.roster.members
    logged: list[str] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_archive(
                estate.layout.archive(member.name),
                host=member.address.host,
                port=member.address.port,
                log=logged.append,
                task_status=task_status,
            )
        )
        yield logged
        nursery.cancel_scope.cancel()


async def attacked(estate: Estate) -> AttackReport:
    async with served(estate):
        return await attack_member(estate, "tower")


def breaches(report: AttackReport) -> set[str]:
    return {one.attack for one in report.attempts if one.verdict is Verdict.BREACH}


async def test_an_archive_holds_and_each_attack_is_stopped_by_its_rule(estate: Estate) -> None:
    report = await attacked(estate)

    assert report.held
    stopped: dict[str, set[str]] = {}
    for one in report.attempts:
        stopped.setdefault(one.attack, set()).add(one.rule)
    assert stopped == RULES


async def test_an_attack_leaves_nothing_behind(estate: Estate) -> None:
    report = await attacked(estate)

    assert (report.ledger_entries, report.reads_recorded) == (0, 0)


async def test_the_rule_that_the_report_names_is_the_one_in_the_owners_log(estate: Estate) -> None:
    async with served(estate) as logged:
        report = await attack_member(estate, "tower")

    steps = [line.split("'")[1] for line in logged if line.startswith("a token of")]
    assert steps == [one.rule for one in report.attempts if one.rule_seen_from == "owner"]


class AnyPresenter(Desk):
    """Planted: a token is good over any paired machine's key."""

    def present(self, peer: Any, token: bytes) -> Any:
        def lax(token: bytes, **how: Any) -> Grant:
            try:
                presenter = decode_chain_untrusted(token).leaf.presenter
            except GrantRefused:
                presenter = peer.spki_hash
            return verify_untrusted(token, **{**how, "presenter": presenter})

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_shown, "verify_untrusted", lax)
            return super().present(peer, token)


class NoNonces(Desk):
    """Planted: what was signed once may be done for ever."""

    def admit(self, grant: Grant, call: CallReady) -> None:
        self._invocations._nonces = type(self._invocations._nonces)()
        super().admit(grant, call)


class NoSignatures(Desk):
    """Planted: a call needs no signature."""

    def admit(self, grant: Grant, call: CallReady) -> None:
        pass


class LeafAlone(Desk):
    """Planted: the last link decides, whatever those before it allow."""

    def present(self, peer: Any, token: bytes) -> Any:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("psp.capability._verify.met_scope", _scope_of_the_last)
            return super().present(peer, token)


def _scope_of_the_last(links: Any, _ceiling: object = None) -> Any:
    return links[-1].scope


@pytest.mark.parametrize(
    ("hole", "found"),
    [
        (AnyPresenter, {"stolen token"}),
        (NoNonces, {"replay"}),
        (LeafAlone, {"widening", "more than the pairing"}),
        (
            NoSignatures,
            {*("replay", "tampered command", "unsigned call", "forged call"), "held-back call"}
            | {"another grant's call"},
        ),
    ],
    ids=lambda it: it.__name__ if isinstance(it, type) else "",
)
async def test_a_planted_hole_is_reported_as_a_breach(
    estate: Estate, monkeypatch: pytest.MonkeyPatch, hole: Callable[..., Desk], found: set[str]
) -> None:
    monkeypatch.setattr("psp.totebox._serve.Desk", hole)

    report = await attacked(estate)

    assert not report.held
    assert breaches(report) == found


async def test_each_question_about_a_widened_grant_would_be_answered_were_it_wide(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is refused for another reason than the first link."""
    monkeypatch.setattr("psp.totebox._serve.Desk", LeafAlone)

    report = await attacked(estate)

    widening = [one for one in report.attempts if one.attack == "widening"]
    assert {one.verdict for one in widening} == {Verdict.BREACH}
    assert report.reads_recorded == len(widening) - 1


async def test_an_archive_that_refuses_everybody_shows_nothing(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refusals would all be accidents: a suspended archive does not pass."""

    class Closed(Desk):
        def present(self, peer: Any, token: bytes) -> Any:
            return super().present(peer, b"")

    monkeypatch.setattr("psp.totebox._serve.Desk", Closed)
    async with served(estate):
        with pytest.raises(EstateError, match="an honest grant"):
            await attack_member(estate, "tower")


async def test_an_archive_that_is_not_served_is_not_attacked(estate: Estate) -> None:
    with pytest.raises(Unreachable):
        await attack_member(estate, "tower")
    with pytest.raises(EstateError, match="no member 'nobody'"):
        await attack_member(estate, "nobody")
