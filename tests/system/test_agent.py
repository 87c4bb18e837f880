"""The example of a program that embeds an archive, run as a reader would run it."""

from __future__ import annotations

import ast
import re
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from psp.capability import Operation, Scope, issue
from psp.endpoint import Address, connect
from psp.errors import Denied, Invalid
from psp.plan import Measure, Plan
from psp.totebox import Archive
from psp.transport import MachineKey
from tests.integration.test_totebox_service import READER
from tests.integration.test_totebox_service import box as box
from tests.integration.test_totebox_service import user as user
from tests.unit.totebox.conftest import OWNER, machine

AGENT = Path(__file__).parents[2] / "examples" / "agent.py"
COUNT = Plan(table="sales", measures=(Measure(Operation.COUNT),)).to_wire()


def token(holder: MachineKey, objects: dict[str, frozenset[str]]) -> bytes:
    now_s = int(time.time())
    return issue(
        OWNER.anchor,
        archive_id=OWNER.archive_id,
        epoch=1,
        holder=holder.public_bytes,
        presenter=holder.spki_hash,
        scope=Scope({"sales": READER}, objects),
        not_before_s=now_s,
        not_after_s=now_s + 60,
        depth=0,
        nonce=secrets.token_bytes(16),
    )


def start(box: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(AGENT), str(box)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_an_archive_is_embedded_in_ten_lines() -> None:
    (main,) = (
        node
        for node in ast.parse(AGENT.read_text("utf-8")).body
        if isinstance(node, ast.AsyncFunctionDef)
    )
    assert main.end_lineno is not None
    assert main.end_lineno - main.lineno + 1 <= 10


async def test_an_agent_answers_while_its_own_work_goes_on(box: Path, user: MachineKey) -> None:
    lender = machine()
    with Archive.open(box) as archive:
        archive.pair("lender", lender.certificate_pem, "INTERFACE")
    named = {"agent": frozenset({"rounds_made"})}
    with start(box) as process:
        assert process.stdout is not None
        found = re.fullmatch(r"serving on (\S+) port (\d+)\n", process.stdout.readline())
        assert found is not None
        address = Address(
            OWNER.archive_id, found[1], int(found[2]), OWNER.box.certificate_pem, "box"
        )
        async with connect(address, key=user) as connection:
            grant = connection.present(token(user, named))
            counted: Any = await grant.call("table", "sales").call("query", COUNT)
            agent = await grant.call("object", "agent")
            first = rounds = await agent.call("rounds_made")
            while rounds < first + 3:
                rounds = await agent.call("rounds_made")
            with pytest.raises(Invalid):
                await agent.call("check")
            for objects in ({}, {"agent": frozenset({"others"})}, {"archive": frozenset({"x"})}):
                other = connection.present(token(user, objects))
                with pytest.raises((Denied, Invalid)):
                    await other.call("object", "agent").call("rounds_made")
            health: Any = await connection.bootstrap.call("health")
        async with connect(address, key=lender) as connection:
            with pytest.raises(Denied):
                await connection.present(token(lender, named)).call("object", "agent")
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert counted["cells"] == [[[], [3]]]
    assert health["confinement"] == "not confined (embedded in a program)"
    assert "ResourceWarning" not in said
