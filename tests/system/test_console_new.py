"""A console from nothing: keys made there, `psp console new` here, and the archives answer."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pexpect
import pytest
import tomli_w
import trio

from psp.aggregator import Roster
from psp.capability import Link, decode_chain_untrusted, token_from_text_untrusted
from psp.endpoint import Portal
from psp.estate import Estate, create_estate, draft_estate
from psp.transport import MachineKey, Passphrase
from tests.attacks.test_captured import served

from .conftest import Ran, psp_command
from .test_key_commands import WORDS

COUNT = "select member, count(*) as n, sum(rent) as rent from flats group by member"
ROWS = [["court", 9, sum(range(1001, 1010))], ["tower", 9, sum(range(1000, 1009))]]


@dataclass
class House:
    """The owner's machine, and what came to it from the others: certificates."""

    root: Path
    estate: Estate

    def arrive(self, name: str) -> Path:
        """Make a machine's key on its own machine, and bring the certificate."""
        (self.root / name).mkdir(exist_ok=True)
        key = MachineKey.create(self.root / name / "machine.key")
        file = self.root / f"{name}.pem"
        file.write_text(key.certificate_pem)
        return file

    def options(self, name: str, passphrase: Passphrase | None = None) -> list[str | Path]:
        """Both keys of a console, and the estate that it is made from."""
        machine = self.arrive(name)
        operator = MachineKey.create(self.root / name / "operator.key", passphrase)
        file = self.root / f"{name}-operator.pem"
        file.write_text(operator.certificate_pem)
        return ["--operator", file, "--machine", machine, "--estate", self.estate.layout.root]

    def carry(self, directory: Path, name: str) -> Path:
        """Have the directory on the console's machine, where the two keys are."""
        there = self.root / name / directory.name
        shutil.copytree(directory, there)
        for key in ("machine.key", "operator.key"):
            shutil.move(self.root / name / key, there / key)
        return there


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Two archives, served in this process; the commands are processes of their own."""
    root = tmp_path_factory.mktemp("house")
    files = [root / "tower.csv", root / "court.csv"]
    for at, file in enumerate(files):
        file.write_text("id,rent\n" + "".join(f"{it},{1000 + it + at}\n" for it in range(9)))
    estate = create_estate(draft_estate(root / "flats", files))
    with Portal() as portal, portal.enter(settled(estate)):
        yield House(root, estate)


@asynccontextmanager
async def settled(estate: Estate) -> AsyncIterator[None]:
    """Archives, some time after their start: what is signed before that is refused."""
    async with served(estate):
        served_s = int(time.time())
        while int(time.time()) <= served_s + 1:  # noqa: ASYNC110 - A clock has no event.
            await trio.sleep(0.05)
        yield


@contextmanager
def hub(house: House, console: Path) -> Iterator[str]:
    """`psp aggregator serve` with what docs/fleet.md gives it; its address."""
    office = house.root / "office"
    private = shutil.ignore_patterns("keys", "archives", "grants")
    shutil.copytree(house.estate.layout.root, office, ignore=private)
    shutil.copy(console, office)
    file = office / "estate.toml"
    document = tomllib.loads(file.read_text())
    del document["tenants"]["owner"]["grants"]
    document["tenants"]["owner"] |= {"profile": "interactive", "consoles": [console.name]}
    file.write_text(tomli_w.dumps(document))
    house.arrive("hub")
    serve = ("--key", house.root / "hub/machine.key", "--listen", "127.0.0.1:0", "--json")
    command = psp_command(*map(str, ("aggregator", "serve", "--estate", office, *serve)))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def no_key_in(directory: Path, house: House) -> bool:
    """Whether nothing there is a private key, of anybody."""
    files = [it for it in directory.rglob("*") if it.is_file()]
    keys = [it.read_text("ascii") for it in house.root.rglob("*.key")]
    return bool(files and keys) and not any(it.read_text() in keys for it in files)


def answer(done: Ran) -> tuple[object, object]:
    assert done.status == 0, done.err
    found = json.loads(done.out)
    return found["states"], sorted(found["rows"])


def test_a_console_asks_through_an_aggregator_by_what_was_carried_to_it(
    house: House, psp: Callable[..., Ran], tmp_path: Path
) -> None:
    options = house.options("anna")
    owner = house.root / "owner.pem"
    owner.write_text(MachineKey.load(house.estate.layout.machine_key("owner")).certificate_pem)
    new = ["console", "new", "desk", *options, "--yes"]
    with hub(house, house.root / "anna.pem") as address:
        through = ["--through", address, "--certificate", house.root / "hub.pem"]
        stranger = psp(*new, *through, "--presenter", house.root / "hub.pem")
        assert (stranger.status, "is not paired with the archive" in stranger.err) == (1, True)
        assert not [*tmp_path.iterdir()]
        made = psp(*new, *through, "--presenter", owner)
        assert made.status == 0, made.err
        assert 'profile = "interactive", consoles = ["anna.pem"]' in made.out
        assert no_key_in(tmp_path / "desk", house)
        there = house.carry(tmp_path / "desk", "anna")
        states, rows = answer(psp("ask", COUNT, "--estate", there, "--json"))
    assert (states, rows) == ({"answered": 2}, ROWS)


def test_a_console_asks_the_archives_directly_by_what_was_carried_to_it(
    house: House, psp: Callable[..., Ran], tmp_path: Path
) -> None:
    """The archives are paired with its machine while they are served, and nothing is restarted."""
    options = house.options("ben")
    made = psp("console", "new", "ben", *options, "--json", stdin="y\n")
    assert json.loads(made.out) == {"console": "ben", "tenant": "owner", "not_here": []}
    assert made.err.count("SHA256:") == 2  # What a person compares.
    there = house.carry(tmp_path / "ben", "ben")
    states, rows = answer(psp("ask", COUNT, "--estate", there, "--json"))
    assert (states, rows) == ({"answered": 2}, ROWS)

    before = {it.name: link(it) for it in (tmp_path / "ben/links").iterdir()}
    renewed = psp("console", "renew", "ben", "--estate", house.estate.layout.root, "--json")
    assert json.loads(renewed.out)["members"] == ["tower", "court"]
    after = {it.name: link(it) for it in (tmp_path / "ben/links").iterdir()}
    assert [it.holder for it in after.values()] == [it.holder for it in before.values()]
    assert all(after[name].nonce != before[name].nonce for name in before)
    assert all(it.not_after_s - it.not_before_s == 24 * 3600 for it in after.values())
    assert all(it.depth == 1 for it in after.values())


def test_the_passphrase_of_an_operators_key_is_asked_where_there_is_a_terminal(
    house: House, psp: Callable[..., Ran], tmp_path: Path
) -> None:
    """By the live screen, say; a script gives it on a descriptor, or hears what to do."""
    options = house.options("eve", Passphrase(WORDS))
    assert psp("console", "new", "eve", *options, "--yes").status == 0
    there = house.carry(tmp_path / "eve", "eve")

    question = ("ask", COUNT, "--estate", str(there), "--json")
    given = psp(*question, "--passphrase-fd", "0", stdin=f"{WORDS}\n")
    assert answer(given) == ({"answered": 2}, ROWS)
    nobody = psp(*question)
    assert (nobody.status, "--passphrase-fd 3 3< FILE" in nobody.sentence) == (1, True)

    screen = pexpect.spawn(
        sys.executable,
        ["-m", "psp", "console", "--estate", str(there)],
        timeout=60,
        encoding="utf-8",
    )
    screen.expect("Passphrase of .*operator.key: ")
    screen.sendline(WORDS)
    screen.expect_exact("2 of 2 there")
    assert WORDS not in str(screen.before)
    screen.send("q")
    screen.expect(pexpect.EOF)
    screen.close()
    assert screen.exitstatus == 0


def link(file: Path) -> Link:
    (only,) = decode_chain_untrusted(token_from_text_untrusted(file.read_text())).links
    return only


def test_archives_that_were_moved_away_are_named(
    house: House, psp: Callable[..., Ran], tmp_path: Path
) -> None:
    """Of each kind one manifest stays: the links are made, and whom to pair there is said."""
    root, moved = house.estate.layout.root, tmp_path / "moved"
    shutil.copytree(root, moved, ignore=shutil.ignore_patterns("archives"))
    for name in ("tower", "court"):
        (moved / "archives" / name).mkdir(parents=True)
        shutil.copy(root / "archives" / name / "manifest.toml", moved / "archives" / name)
    made = psp("console", "new", "fay", *house.options("fay")[:-1], moved, "--yes")
    assert (made.status, "Not here" in made.out, "tower, court" in made.out) == (0, True, True)
    assert sorted(it.stem for it in (tmp_path / "fay/links").iterdir()) == ["court", "tower"]


def test_nothing_is_made_over_something_or_without_a_yes(
    house: House, psp: Callable[..., Ran], tmp_path: Path
) -> None:
    options = house.options("carl")
    unsure = psp("console", "new", "carl", *options)
    assert (unsure.status, "nothing was made" in unsure.sentence) == (1, True)
    (tmp_path / "carl").mkdir()
    again = psp("console", "new", "carl", *options, "--yes")
    assert (again.status, "carl exists already" in again.sentence) == (1, True)
    half = psp("console", "new", "dora", *options, "--through", "psp://")
    assert (half.status, "belong together" in half.sentence) == (1, True)
    estate = house.estate.layout.root
    none = psp("console", "renew", estate, "--estate", estate)
    assert (none.status, "no console's directory" in none.sentence) == (1, True)
    assert [it.name for it in tmp_path.iterdir()] == ["carl"]
    assert not [*(tmp_path / "carl").iterdir()]
    assert Roster.load(estate).tenant().seat is None


def test_a_console_that_was_not_made_says_which_archives_know_its_machine(
    house: House, psp: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "gil").symlink_to("nowhere")  # No directory can take its place.
    options = house.options("gil")
    failed = psp("console", "new", "gil", *options, "--yes")
    assert failed.status == 1
    assert "was not made" in failed.sentence
    assert "paired with tower, court already" in failed.sentence
    assert "psp pair remove ARCHIVE gil" in failed.sentence
    assert [it.name for it in tmp_path.iterdir()] == ["gil"], "nothing half made stays"
    (tmp_path / "gil").unlink()
    assert psp("console", "new", "gil", *options, "--yes").status == 0
