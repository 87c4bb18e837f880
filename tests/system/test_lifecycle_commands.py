"""`psp totebox suspend`, `resume` and `archive`, as an administrator types them."""

from __future__ import annotations

from pathlib import Path

from psp.totebox import State, manifest_of
from psp.transport import MachineKey

from .test_owner_commands import box as box
from .test_owner_commands import psp
from .test_owner_commands import root as root


def test_an_archive_is_suspended_resumed_and_closed_for_ever(box: Path, tmp_path: Path) -> None:
    suspended = psp("totebox", "suspend", box)
    again = psp("totebox", "suspend", box)
    resumed = psp("totebox", "resume", box, "--key", tmp_path / "keys" / "root.key")
    stranger = MachineKey.create(tmp_path / "keys" / "stranger.key")
    refused = psp("totebox", "suspend", box, "--key", tmp_path / "keys" / "stranger.key")
    closed = psp("totebox", "archive", box, "--yes")
    late = psp("totebox", "resume", box)

    assert stranger.public_bytes
    assert suspended.stdout == "box is suspended by entry 1\n"
    assert (again.returncode, again.stdout) == (1, "")
    assert "is suspended already" in again.stderr
    assert resumed.stdout == "box is active by entry 2\n"
    assert "no key signed it that may" in refused.stderr
    assert closed.stdout == "box is archived by entry 3\n"
    assert "it can become nothing else" in late.stderr
    assert manifest_of(box).state is State.ARCHIVED
