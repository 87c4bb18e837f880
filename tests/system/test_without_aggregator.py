"""A wheel without `psp/aggregator`: one archive can still be asked, and the rest says why not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from psp.cli._app import COMMANDS
from psp.endpoint import Portal
from psp.estate import Estate, create_estate, draft_estate
from psp.totebox import serve_archive

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
BUILD = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"

# All commands in one process, as their users would run them in several.
RUN_EACH = """
import contextlib, io, json, sys
target, libraries = sys.argv[1:]
# Without site, so that no editable installation lends the part that is missing here.
sys.path[:0] = [target, libraries]
import psp.cli
done = {}
for name, arguments in json.load(sys.stdin).items():
    sys.argv, out, err, status = ["psp", *arguments], io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            psp.cli.main()
        except SystemExit as exc:
            status = exc.code or 0
    done[name] = [status, out.getvalue(), err.getvalue()]
done["loaded"] = [0, " ".join(sys.modules), psp.__file__]
json.dump(done, sys.stdout)
"""


@dataclass(frozen=True)
class Ran:
    """One finished command."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Ran]:
    """Every command of this file, run where the wheel was unpacked, on a served archive."""
    place = tmp_path_factory.mktemp("apart")
    target = installed_without_aggregator(place)
    file = place / "tower.csv"
    file.write_text(
        "flat,floor,rent\n" + "".join(f"F{n},{n % 3},{1000 + n}.50\n" for n in range(9))
    )
    estate = create_estate(draft_estate(place / "estate", [file], table="flats"))
    with Portal() as portal, portal.enter(served(estate)):
        done = subprocess.run(
            [
                *(sys.executable, "-S", "-c", RUN_EACH),
                *(str(target), sysconfig.get_path("purelib")),
            ],
            input=json.dumps(commands_for(estate)),
            capture_output=True,
            text=True,
            timeout=120,
            cwd=place,
            env={"COLUMNS": "100"},
        )
    assert done.returncode == 0, done.stderr
    found = {name: Ran(*each) for name, each in json.loads(done.stdout).items()}
    assert Path(found["loaded"].err).is_relative_to(target)
    return found


def commands_for(estate: Estate) -> dict[str, list[str]]:
    (member,) = estate.roster.members
    line = [
        *("--to", member.address.to_text()),
        *("--certificate", str(estate.layout.certificate(member.name))),
        *("--key", str(estate.layout.machine_key("owner"))),
    ]
    ask = ["direct", "ask"]
    grant = ["--grant", str(estate.layout.token("owner", member.name)), *line]
    by_floor = "select floor, count(*) as flats, sum(rent) as rent from flats group by floor"
    return {
        "table": [*ask, by_floor, *grant, "--json"],
        "mean": [*ask, "select avg(rent) as mean from flats", *grant],
        "earlier": [*ask, "select count(*) from flats", *grant, "--as-of", "1"],
        "too early": [*ask, "select count(*) from flats", *grant, "--as-of", "-1"],
        "unknown column": [*ask, "select sum(colour) from flats", *grant],
        "no grant": [*ask, by_floor, "--grant", "nowhere.token", *line],
        "status": ["direct", "status", *line, "--json"],
        "fleet": ["ask", "select count(*) from flats", "--estate", "kings"],
        "help": ["--help"],
    }


def installed_without_aggregator(place: Path) -> Path:
    """Build a wheel of the tree without that folder, and unpack it where Python will find it."""
    tree = place / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    leave_out = shutil.ignore_patterns("aggregator", "__pycache__")
    shutil.copytree(ROOT / "psp", tree / "psp", ignore=leave_out)
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=tree, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    target = place / "installed"
    with zipfile.ZipFile(tree / built.stdout.splitlines()[-1]) as wheel:
        wheel.extractall(target)
    assert (target / "psp" / "totebox").is_dir()
    assert not (target / "psp" / "aggregator").exists()
    return target


@asynccontextmanager
async def served(estate: Estate) -> AsyncIterator[None]:
    (member,) = estate.roster.members
    directory, port = estate.layout.archive(member.name), member.address.port
    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_archive(
                directory, host="127.0.0.1", port=port, task_status=task_status
            )
        )
        yield
        nursery.cancel_scope.cancel()


def test_a_question_is_answered_by_one_archive(ran: Mapping[str, Ran]) -> None:
    assert ran["table"].status == 0, ran["table"].err
    answer = json.loads(ran["table"].out)
    assert answer["columns"] == ["floor", "flats", "rent"]
    assert answer["rows"] == [[0, 3, "3010.50"], [1, 3, "3013.50"], [2, 3, "3016.50"]]
    assert answer["states"] == {"answered": 1}


def test_the_same_answer_stands_in_a_terminal(ran: Mapping[str, Ran]) -> None:
    assert ran["mean"].status == 0, ran["mean"].err
    assert "1,004.5" in ran["mean"].out
    assert "1 of 1 answered" in ran["mean"].out


def test_an_earlier_state_can_be_asked_for(ran: Mapping[str, Ran]) -> None:
    assert ran["earlier"].status == 0, ran["earlier"].err
    assert "ledger at tree size 1" in ran["earlier"].out


def test_an_archive_says_how_it_is(ran: Mapping[str, Ran]) -> None:
    assert ran["status"].status == 0, ran["status"].err
    (member,) = json.loads(ran["status"].out)["members"]
    assert (member["member"], member["state"]) == ("tower", "active")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("unknown column", "colour"),
        ("too early", "size of a ledger"),
        ("no grant", "nowhere.token"),
    ],
)
def test_what_goes_wrong_is_one_sentence(ran: Mapping[str, Ran], name: str, word: str) -> None:
    assert ran[name].status == 1
    assert ran[name].err.startswith("psp: ")
    assert ran[name].err.count("\n") == 1
    assert word in ran[name].err


def test_a_command_of_many_archives_says_what_is_missing(ran: Mapping[str, Ran]) -> None:
    assert ran["fleet"].status == 1
    assert ran["fleet"].err.startswith("psp: this command asks many archives")
    assert "psp direct ask" in ran["fleet"].err


def test_every_command_that_is_listed_there_loads(ran: Mapping[str, Ran]) -> None:
    """`--help` loads each of them, so one that needs the aggregator would end it."""
    assert ran["help"].status == 0, ran["help"].err
    listed = {word for line in ran["help"].out.splitlines() for word in line.split()[1:2]}
    assert {"direct", "totebox", "pair", "grant", "ledger", "verify"} <= listed
    assert not {"ask", "up", "view", "demo"} & listed
    assert {"ask", "up", "view", "demo"} <= COMMANDS.keys()


def test_no_part_of_the_aggregator_was_lent(ran: Mapping[str, Ran]) -> None:
    assert not [name for name in ran["loaded"].out.split() if name.startswith("psp.aggregator")]
