"""`psp aggregator serve` as a process: it answers, and writes nothing."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from psp.aggregator import Answer, Fleet, Member, Roster, Tenant
from psp.endpoint import Address
from psp.transport import MachineKey

STRACE: Final = shutil.which("strace")
# Whatever makes, changes, renames or removes a file, and whatever opens one.
_CALLS: Final = "openat,open,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,truncate"
_WRITES: Final = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|^\d+ +(?:creat|rename|unlink|mkdir|truncate)")
_NO_FILE: Final = re.compile(r'"/dev/(?:null|tty)"|ENOENT|anon_inode')


def make_estate(root: Path) -> MachineKey:
    """An estate of one member that is away, and an aggregator with one console."""
    hub, console, member = (MachineKey.create(root / f"{it}.key") for it in ("h", "c", "m"))
    (root / "c.pem").write_text(console.certificate_pem)
    (root / "m.pem").write_text(member.certificate_pem)
    gone = Address(bytes(32), "127.0.0.1", 1, member.certificate_pem, "gone").to_text()
    (root / "estate.toml").write_text(
        f'name = "here"\n[tenants.owner]\nkey = "h.key"\ngrants = "grants"\nconsoles = ["c.pem"]\n'
        f'[[members]]\nname = "gone"\ncertificate = "m.pem"\naddress = "{gone}"\n'
    )
    return hub


def ask(root: Path, address: str, hub: MachineKey) -> Answer:
    place = Address.from_text_untrusted(address, certificate_pem=hub.certificate_pem, name="hub")
    roster = Roster(
        name="above",
        file=root,
        members=(Member(name="hub", label="hub", address=place, is_aggregator=True),),
        tenants={"owner": Tenant(name="owner", sentence="", key_file=root / "c.key", grants=root)},
    )
    with Fleet(roster) as fleet:
        return fleet.ask("select count(*) from sales")


def test_it_serves_until_ctrl_c_and_writes_no_file(tmp_path: Path) -> None:
    root = tmp_path / "estate"
    root.mkdir()
    hub = make_estate(root)
    trace = tmp_path / "trace"
    before = sorted(root.rglob("*"))
    traced = [STRACE, "-f", "-qq", "-e", f"trace={_CALLS}", "-o", str(trace)] if STRACE else []
    command = ("aggregator", "serve", "--key", str(root / "h.key"), "--listen", "127.0.0.1:0")
    with subprocess.Popen(
        [*traced, sys.executable, "-m", "psp", *command, "--estate", str(root), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    ) as process:
        assert process.stdout
        ready = json.loads(process.stdout.readline())
        answer = ask(root, ready["address"], hub)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    (absent,) = answer.absent
    # No grant for it: the tenant's token is looked for before anybody is asked.
    assert absent.member == "hub/gone"
    assert absent.cause
    assert sorted(root.rglob("*")) == before
    if STRACE:
        lines = trace.read_text("utf-8", "replace").splitlines()
        assert any("estate.toml" in line for line in lines)  # It was looked at.
        writes = [it for it in lines if _WRITES.search(it) and not _NO_FILE.search(it)]
        assert writes == []
