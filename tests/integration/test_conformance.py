"""The conformance runner over real TLS, against our own two ends and as a command."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.conformance import dials, listens, run_controller, run_subject
from psp.endpoint import Address, Exposed, Recorder, connect, method, serve
from psp.errors import CallFailed, Denied, Disconnected
from psp.transport import MachineKey, Peer, Pin, check_certificate_untrusted
from psp.wire import Role
from tests.unit.conformance.peers import TinySubject, served
from tests.unit.conformance.test_subject import AnswersTwice, failing

ARCHIVE_ID = bytes(range(32))
GIVEN = {"object": "room", "stream": "file", "slow": "wait"}
PATIENT_S = 60.0


class Door(Exposed):
    @method
    def health(self) -> dict[str, bool]:
        return {"ok": True}

    @method
    def room(self) -> Door:
        return Door()

    @method
    async def file(self) -> AsyncIterator[bytes]:
        for number in range(64):
            yield bytes([number]) * 7

    @method
    async def wait(self) -> None:
        await trio.sleep_forever()


def machine() -> MachineKey:
    return MachineKey(Ed25519PrivateKey.generate())


def pin(key: MachineKey, name: str) -> Pin:
    return Pin(name, check_certificate_untrusted(key.certificate_pem))


TESTER, PEER = machine(), machine()


def refuse(peer: Peer, token: bytes) -> Exposed:
    raise Denied


@asynccontextmanager
async def our_subject() -> AsyncIterator[Address]:
    async def run(*, task_status: trio.TaskStatus[tuple[str, int]]) -> None:
        await serve(
            key=PEER,
            archive_id=ARCHIVE_ID,
            pins=[pin(TESTER, "the tester")],
            bootstrap=lambda peer: Door(),
            present=refuse,
            host="127.0.0.1",
            port=0,
            log=lambda text: None,
            task_status=task_status,
        )

    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(run)
        yield Address(ARCHIVE_ID, host, port, PEER.certificate_pem, "ours")
        nursery.cancel_scope.cancel()


async def test_our_subject_passes_every_case_over_tls() -> None:
    async with our_subject() as address:
        outcomes = await run_subject(dials(address, TESTER), given=GIVEN, within_s=PATIENT_S)
    assert failing(outcomes) == set()
    assert {outcome.verdict for outcome in outcomes} == {"passed"}


async def test_our_controller_passes_every_case_over_tls() -> None:
    async def visit(port: int) -> None:
        address = Address(ARCHIVE_ID, "127.0.0.1", port, TESTER.certificate_pem, "the tester")
        while True:
            try:
                async with connect(address, key=PEER) as connection:
                    await connection.bootstrap.call("health")
            except (CallFailed, Disconnected):
                await trio.lowlevel.checkpoint()

    peer = pin(PEER, "ours").certificate
    async with (
        listens("127.0.0.1", 0, key=TESTER, peer=peer, archive_id=ARCHIVE_ID) as (accept, port),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(visit, port)
        outcomes = await run_controller(
            accept, archive_id=ARCHIVE_ID, within_s=PATIENT_S, visit_s=PATIENT_S
        )
        nursery.cancel_scope.cancel()
    assert failing(outcomes) == set()
    assert {outcome.verdict for outcome in outcomes} == {"passed"}


async def command(*arguments: str) -> tuple[int, str, str]:
    done = await trio.run_process(
        [sys.executable, "-m", "psp.conformance", *arguments],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


async def port_of(dial: Any) -> int:
    async with await dial() as stream:
        port: int = stream.socket.getpeername()[1]
        return port


@pytest.mark.parametrize(("make", "code"), [(TinySubject, 0), (AnswersTwice, 1)])
async def test_the_command_says_in_its_exit_code_whether_a_case_failed(
    make: type[TinySubject], code: int
) -> None:
    async with served(make) as dial:
        where = f"127.0.0.1:{await port_of(dial)}"
        arguments = ("subject", where, "--plain", "--only", "live_subject", "--object", "room")
        found, text, _ = await command(*arguments)
        _, as_json, _ = await command(*arguments, "--json")
    assert found == code, text
    assert ("failed   live_subject" in text) is bool(code)
    verdicts = {outcome["verdict"] for outcome in json.loads(as_json)["outcomes"]}
    assert verdicts == {"passed", "skipped"} | ({"failed"} if code else set())


async def test_the_command_that_can_try_nothing_says_why_and_leaves_with_2(tmp_path: Path) -> None:
    code, _, said = await command("subject", "127.0.0.1:1", "--plain")
    assert (code, "nobody listens at 127.0.0.1:1" in said) == (2, True)
    code, _, said = await command("subject", "psp://x")
    assert (code, "TLS needs --key FILE" in said) == (2, True)
    key = tmp_path / "key.pem"
    MachineKey.create(key)
    certificate = tmp_path / "certificate.pem"
    certificate.write_text(PEER.certificate_pem)
    options = ("--key", str(key), "--certificate", str(certificate))
    code, _, said = await command("subject", "psp://x", *options)
    assert (code, "is not the address of an archive" in said) == (2, True)


async def test_a_recorder_on_a_real_connection_sees_both_directions_and_no_value() -> None:
    text: list[str] = []
    recorder = Recorder(text.append, role=Role.CONTROLLER, clock=trio.current_time)
    async with our_subject() as address:
        async with connect(address, key=TESTER, tap=recorder) as connection:
            assert await connection.bootstrap.call("health") == {"ok": True}
            with pytest.raises(CallFailed):
                await connection.bootstrap.call("health", "Mrs Example")
        recorder.close()
    lines = [json.loads(line) for line in text]
    assert recorder.failure is None
    assert [(line["from"], line["frame"]) for line in lines if line["frame"] != "FINISH"][:6] == [
        ("controller", "HELLO"),
        ("controller", "CALL"),
        ("subject", "HELLO"),
        ("subject", "RETURN"),
        ("controller", "CALL"),
        ("subject", "RETURN"),
    ]
    assert "Mrs Example" not in "".join(text)
    assert all(earlier["s"] <= later["s"] for earlier, later in pairwise(lines))
