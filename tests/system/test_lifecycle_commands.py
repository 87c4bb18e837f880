"""`psp totebox suspend`, `resume` and `archive`, as an administrator types them."""

from __future__ import annotations

from pathlib import Path

from psp.totebox import State, manifest_of
from psp.transport import MachineKey

from .test_owner_commands import box as box
from .test_owner_commands import psp
from .test_owner_commands import root as root


def test_an_archive_is_suspended_and_closed_for_ever(box: Path, tmp_path: Path) -> None:
    stranger = tmp_path / "keys" / "stranger.key"
    MachineKey.create(stranger)
    suspended = psp("totebox", "suspend", box)
    refused = psp("totebox", "resume", box, "--key", stranger)
    closed = psp("totebox", "archive", box, "--yes")
    late = psp("totebox", "resume", box)

    assert suspended.stdout == "box is suspended by entry 1\n"
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no key signed it that may" in refused.stderr
    assert closed.stdout == "box is archived by entry 2\n"
    assert "it can become nothing else" in late.stderr
    assert manifest_of(box).state is State.ARCHIVED
