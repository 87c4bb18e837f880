"""`psp totebox` as an operator types it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.totebox import Archive
from tests.unit.totebox.conftest import OWNER, ingest, write

from .conftest import Ran

pytestmark = pytest.mark.slow


@pytest.fixture
def box(tmp_path: Path) -> Path:
    with OWNER.found(tmp_path / "box") as archive:
        ingest(archive, write(tmp_path / "in.csv"))
    return tmp_path / "box"


def test_an_audit_says_what_is_wrong_and_its_command_puts_it_right(
    box: Path, psp: Callable[..., Ran]
) -> None:
    (asset,) = (box / "assets").iterdir()
    asset.chmod(0o666)

    report = json.loads(psp("totebox", "audit", box, "--json").out)
    (finding,) = report["findings"]
    command, mode, path = shlex.split(finding["next"])
    assert (command, path) == ("chmod", str(asset))
    asset.chmod(int(mode, 8))
    well = psp("totebox", "audit", "box")
    assert (well.status, "all is well" in well.out) == (0, True)


def test_a_sample_states_its_chance(box: Path, psp: Callable[..., Ran]) -> None:
    report = json.loads(psp("totebox", "audit", box, "--sample", "1", "--json").out)

    assert report["catches"] == {"1": 1.0}
    assert report["index_compared"] is False


def test_an_archive_travels_as_one_file(box: Path, psp: Callable[..., Ran]) -> None:
    packed = psp("totebox", "pack", "box", "box.tar")
    assert packed.status == 0
    assert "without its private keys" in packed.out
    assert "Next: psp totebox unpack box.tar DIR" in packed.out
    unpacked = psp("totebox", "unpack", "box.tar", "copy")
    assert (unpacked.status, "warning: keys:" in unpacked.out) == (3, True)


def test_a_served_archive_is_not_audited(box: Path, psp: Callable[..., Ran]) -> None:
    with Archive.open(box, doing="which serves it"):
        refused = psp("totebox", "audit", "box")
    assert (refused.status, "which serves it" in refused.sentence) == (1, True)
