"""`psp ledger` and `psp verify`, as an owner, a witness and an auditor use them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from psp.cli import main
from psp.cli._app import app
from psp.ledger import Ledger, VerifierKey
from psp.totebox import Archive
from tests.unit.ledger.keys import Key
from tests.unit.ledger.test_another_hand import KEY as THEIR_KEY
from tests.unit.ledger.test_another_hand import THEIRS
from tests.unit.totebox.conftest import OWNER, ingest, write
from verifier import psp_verify

from .conftest import Ran

Psp = Callable[..., Ran]
ORIGIN = "example.com/books"
KEY = VerifierKey(ORIGIN, Key().public_bytes).encode()


@pytest.fixture
def here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Psp:
    """Run `psp` in `tmp_path` and in this process: starting one costs a second each time."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path) -> Ran:
        # With its arguments, because under pytest it does not take them from `sys.argv`.
        monkeypatch.setattr("psp.cli._run", lambda: app([*map(str, arguments)]))
        status: object = 0
        try:
            main()
        except SystemExit as exc:
            status = exc.code or 0
        said = capsys.readouterr()
        assert isinstance(status, int)
        return Ran(status, said.out, said.err)

    return run


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """An archive with one file sealed."""
    with OWNER.found(tmp_path / "box") as archive:
        ingest(archive, write(tmp_path / "sales.csv"))
    return tmp_path / "box"


@pytest.fixture
def books(tmp_path: Path) -> Path:
    """A ledger that stands alone."""
    make(tmp_path / "books", b"first", b"second")
    return tmp_path / "books"


def make(directory: Path, *entries: bytes) -> None:
    with Ledger.create(directory, origin=ORIGIN, key=Key()) as ledger:
        ledger.append(entries)


def grow(directory: Path, *entries: bytes) -> None:
    public = Key().public_bytes
    with Ledger.open(directory, origin=ORIGIN, public_key=public, key=Key()) as ledger:
        ledger.append(entries)


def shown(here: Psp, *arguments: str | Path) -> dict[str, object]:
    ran = here("ledger", "show", *arguments, "--json")
    assert ran.status == 0, ran.err
    facts = json.loads(ran.out)
    assert isinstance(facts, dict)
    return facts


def test_an_archive_says_its_own_key_and_a_ledger_alone_needs_to_be_told(
    here: Psp, box: Path, books: Path
) -> None:
    facts = shown(here, box, "--last", "1")
    assert facts["entries"] == 2
    assert str(facts["key"]).startswith(f"{facts['ledger']}+")
    assert '"kind":"ingested"' in str(facts["last"]).replace(" ", "")
    assert shown(here, books, "--key", KEY)["entries"] == 2
    ran = here("ledger", "show", books)
    assert ran.status == 1
    assert "no key was given for the ledger example.com/books" in ran.sentence.replace("'", "")
    ran = here("ledger", "show", books, "--key", KEY, "--last", "1")
    assert ran.out.splitlines()[-1].split() == ["1", "second"]


def test_a_served_archive_can_be_shown_too(here: Psp, box: Path) -> None:
    with Archive.open(box):
        assert shown(here, box)["entries"] == 2


def test_a_ledger_by_another_program_is_shown(here: Psp) -> None:
    facts = shown(here, THEIRS, "--key", THEIR_KEY.encode())
    assert facts["entries"] == 300
    ran = here("ledger", "show", THEIRS, "--key", THEIR_KEY.encode())
    assert "has no journal" in ran.err.replace("\n", " ")


def test_a_proof_is_checked_far_from_the_archive(psp: Psp, box: Path, tmp_path: Path) -> None:
    made = psp("ledger", "prove", box, "1")
    key = made.out.strip()
    shutil.rmtree(box)
    ran = psp("verify", "1.tlog-proof", "--key", key, "--json")
    assert ran.status == 0, ran.err
    facts = json.loads(ran.out)
    assert (facts["index"], facts["entries"], facts["witnesses"]) == (1, 2, [])
    assert json.loads(facts["entry"])["file"] == "sales.csv"
    assert psp("verify", "1.tlog-proof", "--key", key).out.startswith("verified: entry 1 of 2 in")
    proof = (tmp_path / "1.tlog-proof").read_bytes()
    assert psp_verify.check_proof(proof, psp_verify.key_of(key))


def test_a_changed_proof_and_another_key_leave_with_1(
    here: Psp, books: Path, tmp_path: Path
) -> None:
    file = tmp_path / "p"
    assert here("ledger", "prove", books, "1", "--key", KEY, "--out", file).status == 0
    other = VerifierKey(ORIGIN, Key(9).public_bytes).encode()
    ran = here("verify", file, "--key", other)
    assert (ran.status, ran.out) == (1, "")
    assert "no signature by example.com/books" in ran.sentence
    file.write_bytes(file.read_bytes().replace(b"index 1", b"index 0"))
    ran = here("verify", file, "--key", KEY)
    assert (ran.status, ran.out) == (1, "")
    assert "entry 0 is not under root" in ran.sentence
    assert here("verify", tmp_path / "none", "--key", KEY).status == 1
    assert here("ledger", "prove", books, "2", "--key", KEY).status == 1


def test_an_entry_kept_back_is_given_by_who_has_it(here: Psp, books: Path, tmp_path: Path) -> None:
    here("ledger", "prove", books, "1", "--key", KEY, "--out", "p", "--without-entry")
    assert b"c2Vjb25k" not in (tmp_path / "p").read_bytes()
    assert "holds no entry" in here("verify", "p", "--key", KEY).sentence
    (tmp_path / "entry").write_bytes(b"second")
    assert here("verify", "p", "--key", KEY, "--entry", "entry").status == 0


def watch(here: Psp, name: str, *arguments: str | Path) -> Ran:
    options = ("--state", name, "--key", f"{name}.key", "--name", f"{name}.example")
    return here("ledger", "witness", *arguments, *options, "--out", f"{name}.out", "--json")


def test_two_witnesses_cosign_and_a_proof_carries_both(
    here: Psp, box: Path, books: Path, tmp_path: Path
) -> None:
    keys, files = [], []
    for name in ("w1", "w2"):
        ran = watch(here, name, box, books, "--of", KEY, "--new")
        assert ran.status == 0, ran.err
        said = json.loads(ran.out)
        keys.append(said["key"])
        files.append(said["ledgers"][1]["file"])
    options = ("--key", KEY, "--out", "p")
    assert here("ledger", "prove", books, "0", *options, "--under", *files).status == 0
    witnesses = [option for key in keys for option in ("--witness", key)]
    ran = here("verify", "p", "--key", KEY, *witnesses)
    assert ran.status == 0, ran.err
    assert [line.split()[2] for line in ran.out.splitlines()[1:3]] == ["w1.example", "w2.example"]
    here("ledger", "prove", books, "0", *options, "--under", files[0])
    assert "1 of 2 witnesses cosigned" in here("verify", "p", "--key", KEY, *witnesses).sentence
    assert here("verify", "p", "--key", KEY, *witnesses, "--quorum", "1").status == 0


def test_a_ledger_that_grew_is_cosigned_and_a_rewritten_one_is_not(
    here: Psp, books: Path, tmp_path: Path
) -> None:
    make(tmp_path / "other", b"entry")
    assert watch(here, "w", books, "--of", KEY, "--new").status == 0
    grow(books, b"third")
    assert watch(here, "w", books, "--of", KEY).status == 0
    (cosigned,) = (tmp_path / "w.out").iterdir()
    kept = cosigned.read_bytes()
    assert kept.startswith(b"example.com/books\n3\n")

    shutil.rmtree(books)
    make(books, b"first", b"SECOND", b"third", b"fourth")
    ran = watch(here, "w", books, "--of", KEY)
    assert ran.status == 1
    assert "1 of 1 ledgers were not cosigned" in ran.sentence
    (report,) = json.loads(ran.out)["ledgers"]
    assert "does not extend the 3 entries seen before" in report["refused"]
    assert cosigned.read_bytes() == kept
    # The auditor finds the same with what was kept, and with no PSP at all.
    ran_alone = subprocess.run(
        [sys.executable, "-I", psp_verify.__file__, books, "--key", KEY, "--older", cosigned],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran_alone.returncode, ran_alone.stderr) == (
        1,
        "NOT VERIFIED: the past was rewritten\n",
    )


def test_one_bad_ledger_does_not_keep_the_others_from_being_watched(
    here: Psp, books: Path, tmp_path: Path
) -> None:
    ran = watch(here, "w", tmp_path / "missing", books, "--of", KEY, "--new")
    assert ran.status == 1
    missing, cosigned = json.loads(ran.out)["ledgers"]
    assert "cannot be read" in missing["refused"]
    assert cosigned["ledger"] == ORIGIN


def test_a_witness_does_not_begin_twice(here: Psp) -> None:
    assert watch(here, "w", "--new").status == 0
    assert "a witness that forgets is none" in watch(here, "w", "--new").sentence


def test_a_whole_archive_is_checked_and_what_is_wrong_is_named(here: Psp, box: Path) -> None:
    clean = here("ledger", "fsck", box)
    assert (clean.status, clean.out.count("nothing wrong")) == (0, 2)  # And its record of reads.

    bundle = box / "ledger" / "tile" / "entries" / "000.p" / "2"
    bundle.chmod(0o600)
    bundle.write_bytes(bundle.read_bytes().replace(b"sales", b"tales", 1))
    found = here("ledger", "fsck", box)
    assert found.status == 1
    assert "tile/entries/000.p/2" in found.out

    report = json.loads(here("ledger", "fsck", box, "--json").out)
    assert any(one["file"] == "tile/entries/000.p/2" for one in report[f"{box}/ledger"]["findings"])
    assert report[f"{box}/ledger/read-audit"]["findings"] == []
