"""`psp aggregator serve` as a process: it answers, and writes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from psp.aggregator import Fleet, Member, Roster, Tenant
from psp.endpoint import Address
from psp.transport import MachineKey


def test_it_serves_until_ctrl_c_and_writes_no_file(tmp_path: Path) -> None:
    hub, console, member = (MachineKey.create(tmp_path / f"{it}.key") for it in ("h", "c", "m"))
    (tmp_path / "c.pem").write_text(console.certificate_pem)
    (tmp_path / "m.pem").write_text(member.certificate_pem)
    gone = Address(bytes(32), "127.0.0.1", 1, member.certificate_pem, "gone").to_text()
    (tmp_path / "estate.toml").write_text(
        f'name = "here"\n[tenants.owner]\nkey = "h.key"\ngrants = "grants"\nconsoles = ["c.pem"]\n'
        f'[[members]]\nname = "gone"\ncertificate = "m.pem"\naddress = "{gone}"\n'
    )
    before = sorted(tmp_path.rglob("*"))
    command = ("aggregator", "serve", "--key", str(tmp_path / "h.key"), "--listen", "127.0.0.1:0")
    with subprocess.Popen(
        [sys.executable, "-m", "psp", *command, "--estate", str(tmp_path), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        address = Address.from_text_untrusted(
            ready["address"], certificate_pem=hub.certificate_pem, name="hub"
        )
        roster = Roster(
            name="above",
            file=tmp_path,
            members=(Member(name="hub", label="hub", address=address, is_aggregator=True),),
            tenants={
                "owner": Tenant(
                    name="owner", sentence="", key_file=tmp_path / "c.key", grants=tmp_path
                )
            },
        )
        with Fleet(roster) as fleet:
            answer = fleet.ask("select count(*) from sales")
        process.send_signal(signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    (absent,) = answer.absent
    # No grant for it: the tenant's token is looked for before anybody is asked.
    assert absent.member == "hub/gone"
    assert absent.cause
    assert sorted(tmp_path.rglob("*")) == before
