"""No token, key or row in any log, repr, traceback, metric, recording or line of a command.

One run of everything over real archives, with everything that is written or shown meanwhile; then a
search for secrets that the test knows, in whatever form they may stand there.
"""

from __future__ import annotations

import base64
import io
import logging
import secrets
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack
import pytest
import trio
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from psp.aggregator import Roster, open_fleet
from psp.attack import attack_member
from psp.capability import (
    Chain,
    Scope,
    ceiling,
    check_public_key,
    decode_chain_untrusted,
    describe,
    issue,
    narrow,
    sign_invocation,
    token_from_text_untrusted,
    token_to_text,
    verify_anchor_untrusted,
    verify_untrusted,
)
from psp.cli._app import app
from psp.endpoint import Address, Connection, Recorder, connect, spans
from psp.errors import PSPError
from psp.estate import Estate, TenantPolicy, create_estate, draft_estate
from psp.totebox import Archive, serve_archive
from psp.totebox._service import Desk
from psp.transport import MachineKey, Peer
from psp.wire import Role
from tests.unit.totebox.conftest import call_on, machine

from .canary import Canaries, seed_of

ROW = f"canary row {secrets.token_hex(12)}"
CANARY = secrets.token_bytes(32)


@dataclass
class Heard(logging.Handler):
    """Everything that was written or shown, by where."""

    by_place: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        super().__init__(logging.DEBUG)

    def __hash__(self) -> int:
        return id(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.hear("logging", f"{record.getMessage()} {record.args!r} {record.exc_text}")

    def hear(self, place: str, what: object) -> None:
        self.by_place[place].append(what if isinstance(what, bytes) else str(what).encode())

    def show(self, *objects: object) -> None:
        """What a debugger, a log line or an f-string would say of these."""
        for one in objects:
            self.hear("repr", f"{one!r} {one} {one:}")

    def raised(self, exc: BaseException) -> None:
        """All words of an error, with those of whatever it came from, suppressed or not."""
        seen: BaseException | None = exc
        while seen is not None:
            self.hear("errors", f"{seen!r} {seen} {seen.args!r}")
            self.hear("tracebacks", "".join(traceback.format_exception(seen)))
            seen = seen.__cause__ or seen.__context__

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Something that must be refused, and is listened to."""
        with pytest.raises(PSPError) as refused:
            yield
        self.raised(refused.value)

    def found(self, secret: Canaries) -> dict[str, set[str]]:
        found = {place: secret.found_in(b"\n".join(said)) for place, said in self.by_place.items()}
        return {place: names for place, names in found.items() if names}


@pytest.fixture
def heard() -> Iterator[Heard]:
    one, root = Heard(), logging.getLogger()
    level = root.level
    root.addHandler(one)
    root.setLevel(logging.DEBUG)
    yield one
    root.removeHandler(one)
    root.setLevel(level)


@pytest.fixture
def estate(tmp_path: Path) -> Estate:
    """One archive whose tenant may aggregate one column; another one holds the canary."""
    file = tmp_path / "tower.csv"
    file.write_text(
        "id,note,rent\n" + "".join(f"{number},{ROW},{1000 + number}\n" for number in range(9))
    )
    tenant = TenantPolicy(name="office", sentence="", columns=("rent",), by=("id",), objects={})
    return create_estate(draft_estate(tmp_path / "flats", [file]), tenants=(tenant,))


@dataclass
class World:
    """An estate, and what must not be heard of it."""

    heard: Heard
    estate: Estate
    secrets: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        layout = self.estate.layout
        (self.member,) = self.estate.roster.members
        self.key = MachineKey.load(layout.machine_key("office"))
        self.token = self.estate.roster.tenant().token_for(self.member.name)
        self.console, self.stranger = machine(), machine()
        for path in sorted(layout.root.rglob("*.key")):
            self.secrets[str(path.relative_to(layout.root))] = seed_of(MachineKey.load(path))
        self.secrets |= {
            "console": seed_of(self.console),
            "stranger": seed_of(self.stranger),
            "row": ROW.encode(),
        }
        self.keep("token", self.token)
        self.called, self.call = self.interactive()
        self.keep("interactive", self.called)
        self.secrets["invocation"] = self.call[-64:]

    def keep(self, name: str, token: bytes) -> None:
        """Look for the beginning of a token, a line of its text, and each of its signatures."""
        self.secrets[name] = token[:24]
        self.secrets[f"{name}, as text"] = line_of(token)
        for number, one in enumerate(decode_chain_untrusted(token).signed):
            self.secrets[f"{name}, signature {number}"] = one.signature

    def interactive(self) -> tuple[bytes, bytes]:
        first = decode_chain_untrusted(self.token).signed[0]
        operator = self.estate.grants.operator
        now_s = int(time.time())
        link = replace(
            first.link,
            issuer=operator.public_bytes,
            holder=self.console.public_bytes,
            presenter=self.key.spki_hash,
            not_after_s=now_s + 600,
            depth=0,
        )
        chain = Chain((first,)).extend(link, operator)
        call = sign_invocation(
            self.console,
            archive_id=link.archive_id,
            grant_id=chain.ids()[-1],
            commands=[("describe", [])],
            nonce=secrets.token_bytes(16),
            issued_s=now_s,
            expires_s=now_s + 60,
        )
        return chain.encode(), call


def line_of(token: bytes) -> bytes:
    """The letters of one line of a token's text, which stands between a number and a check."""
    return token_to_text(token).splitlines()[3].split(".")[3].encode()


async def converse(world: World, connection: Connection) -> None:
    """Calls that are answered and calls that are not, all of which somebody may log."""
    heard = world.heard
    promise = connection.present(world.token)
    grant = await promise
    table = await grant.call("table", "flats")
    await table.call("query", ["flats", [], [], [["sum", ["rent"]]], []])
    heard.show(connection, promise, grant, table, await grant.call("describe"))
    calls: list[tuple[Any, str, tuple[Any, ...]]] = [
        (table, "query", (["flats", [], [], [["sum", ["note"]]], []],)),
        (table, "query", (["flats", [["note", [3, ROW]]], [], [["count", []]], []],)),
        (table, "query", (["flats", [["id", [3, ROW]]], [], [["count", []]], []],)),
        (table, "query", ([ROW],)),
        (table, "row", ([ROW],)),
        (table, "row", ([1, world.token],)),
        (grant, "table", (ROW,)),
        (grant, "table", (7,)),
        (grant, "run", ([["table", [world.token]]],)),
        (connection.bootstrap, "health", (world.token,)),
    ]
    for target, method, arguments in calls:
        with heard.failing():
            await target.call(method, *arguments)
    for token in (world.token[:-1], world.token + b"x", Chain(()).encode(), b""):
        with heard.failing():
            await connection.present(token)
    console = connection.present(world.called)
    with heard.failing():
        await console.call("describe")
    with heard.failing():
        await console.call("describe", invocation=world.call)  # Of before the start.
    with heard.failing():
        await console.call("table", "flats", invocation=world.call)
    heard.hear("metrics", connection.statistics())
    heard.hear("metrics", connection.inspect())


def refuse_locally(world: World) -> None:
    """Everything on this machine that says no, given secrets."""
    estate, heard = world.estate, world.heard
    layout, chain = estate.layout, decode_chain_untrusted(world.token)
    archive = layout.archive(world.member.name)
    anchor = verify_anchor_untrusted(
        (archive / "keys" / "anchor").read_bytes(), archive_id=chain.leaf.archive_id
    )
    text, under = token_to_text(world.token), ceiling("USER", {"flats": ["id", "rent"]}, 1)
    now_s = int(time.time())
    grant = verify_untrusted(
        world.token, anchor=anchor, presenter=world.key.spki_hash, ceiling=under, now_s=now_s
    )
    heard.show(estate, estate.grants, estate.roster, estate.roster.tenant(), world.member)
    heard.show(world.key, world.console, anchor, grant, chain, *chain.signed, *chain.links)
    heard.hear("describe", describe(world.token))
    damaged, open_to_all = layout.root / "damaged.key", layout.root / "open.key"
    damaged.write_bytes(world.key.private_pem()[:-30])
    open_to_all.write_bytes(world.key.private_pem())
    damaged.chmod(0o600)
    open_to_all.chmod(0o644)
    window: dict[str, Any] = {"not_before_s": now_s, "not_after_s": now_s + 60, "nonce": bytes(16)}
    to: dict[str, Any] = {"holder": world.console.public_bytes, "presenter": world.key.spki_hash}
    scope = chain.leaf.scope

    def present(token: bytes, presenter: MachineKey, at_s: int = now_s) -> object:
        return verify_untrusted(
            token, anchor=anchor, presenter=presenter.spki_hash, ceiling=under, now_s=at_s
        )

    attempts: list[Callable[[], object]] = [
        lambda: present(world.token, world.stranger),
        lambda: present(world.token, world.key, now_s + 10_000),
        lambda: present(world.token[:-1] + bytes([world.token[-1] ^ 1]), world.key),
        lambda: present(b"\x91" + world.token, world.key),
        lambda: narrow(world.token, world.stranger, scope=scope, depth=0, **to, **window),
        lambda: narrow(world.token, world.key, scope=scope, depth=0, **to, **window),
        lambda: narrow(b"\0" + world.token, world.key, scope=scope, depth=0, **to, **window),
        lambda: issue(
            world.console,
            archive_id=chain.leaf.archive_id,
            epoch=1,
            scope=Scope(),
            depth=0,
            **to,
            **window,
        ),
        lambda: token_from_text_untrusted(text.replace("PSP1.001", "PSP1.009")),
        lambda: token_from_text_untrusted(text[:200]),
        lambda: check_public_key(seed_of(world.key) + b"x"),
        lambda: MachineKey.load(damaged),
        lambda: MachineKey.load(open_to_all),
        lambda: MachineKey.load(layout.token("office", world.member.name)),
        lambda: MachineKey.create(layout.machine_key("office")),
        lambda: Address.from_text_untrusted(
            text, certificate_pem=world.key.private_pem().decode(), name="x"
        ),
        lambda: Roster.load(layout.machine_key("office")),
        lambda: Archive.open(layout.root),
    ]
    for attempt in attempts:
        with heard.failing():
            attempt()


async def look_inside(world: World) -> None:
    """What an owner's debugger shows of an archive that has just answered."""
    heard, key = world.heard, world.key
    with Archive.open(world.estate.layout.archive(world.member.name)) as archive:
        desk = Desk(archive, lambda text: heard.hear("owner's log", text))
        peer = Peer(key.spki_hash, key.public_bytes, "office")
        grant, console = desk.present(peer, world.token), desk.present(peer, world.called)
        table = grant.table("flats")
        await table.query(["flats", [], [], [["sum", ["rent"]]], []])
        carried: list[Any] = [("describe", []), ("reads", [world.token, ROW])]
        for commands in (carried[:1], carried):
            call = call_on(console, "run", [[[*one] for one in commands]], world.call)
            heard.show(call)
            with heard.failing():
                console.check(call)
        heard.show(desk, grant, console, table, peer, desk.counters, desk.bootstrap(peer))
        heard.show(archive, archive.manifest, archive.anchor, archive.ledger, archive.index)
        heard.show(desk.reads, *archive.pairings(), archive.machine_key())
        for token in (world.token + b"x", world.token[:-9], b"\x91" + world.token):
            with heard.failing():
                desk.present(peer, token)


async def ask_a_fleet(world: World) -> None:
    """What an aggregator's program holds after an answer."""
    async with open_fleet(world.estate.roster) as fleet:
        answer = await fleet.ask("select count(*), sum(rent) from flats")
        world.heard.show(fleet, answer, *answer.outcomes, *fleet.lines.values())
        with world.heard.failing():
            # Its words are the asker's own, and an error points at the wrong one.
            await fleet.ask("select sum(note) from flats")
        for line in fleet.lines.values():
            world.heard.hear("metrics", line.statistics())


def run_commands(world: World, directory: Path) -> None:
    """What a person types, rightly and wrongly."""
    layout, name = world.estate.layout, world.member.name
    bad = directory / "bad.csv"
    bad.write_text(f"id,note,rent\n77,x,{ROW}\n{ROW},x,1\n")
    recording, raw = directory / "recording", directory / "raw"
    recording.write_text("".join(said.decode() for said in world.heard.by_place["recorder"]))
    raw.write_bytes(b"".join(world.heard.by_place.pop("sent in the clear")))
    token, key = layout.token("office", name), layout.machine_key("office")
    at = ["--estate", str(layout.root)]
    for words in (
        ["ask", "select count(*), sum(rent) from flats", *at],
        ["ask", "select count(*), sum(rent) from flats", *at, "--json"],
        ["ask", "select sum(note) from flats", *at],
        ["ask", f"select count(*) from flats where note = '{ROW}'", *at],
        ["status", *at],
        ["status", *at, "--json"],
        ["decode", str(recording)],
        ["decode", str(raw), "--from", "controller"],
        ["decode", str(token)],
        ["decode", str(key)],
        ["trace", str(recording)],
        ["ledger", "show", str(layout.archive(name))],
        ["ledger", "fsck", str(layout.archive(name))],
        ["verify", str(token)],
        ["verify", str(key)],
        ["grant", "show", str(token)],
        ["grant", "show", str(token), "--json"],
        ["grant", "verify", str(token), "--archive", str(layout.archive(name))],
        ["grant", "verify", str(token), "--archive", str(layout.archive(name)), "--json"],
        ["grant", "show", str(key)],
        ["grant", "narrow", str(key), "--key", str(token), "--to", str(key)],
        ["grant", "revoke", str(layout.archive(name)), str(key)],
        ["pair", "list", str(layout.archive(name))],
        ["pair", "accept", str(token), "--key", str(key), "--to", str(directory)],
        ["key", "show", str(key)],
        ["key", "show", str(token)],
        ["doctor", *at],
        ["totebox", "audit", str(layout.archive(name))],
        ["up", "nobody", *at],
        ["estate", "new", str(directory / "more"), "--from", str(bad), "--yes"],
        ["estate", "new", str(directory / "keys"), "--from", str(key), "--yes"],
        ["archive", "ingest", str(layout.archive(name)), str(bad)],
    ):
        run_command(world.heard, words)


def run_command(heard: Heard, words: list[str]) -> None:
    """Run one command in this process, with its output and its way of ending."""
    written, failed = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(written), redirect_stderr(failed):
            app(words)
    except PSPError as exc:
        heard.raised(exc)
    except SystemExit:
        pass
    heard.hear("commands", written.getvalue() + failed.getvalue())


async def live(world: World, directory: Path) -> None:
    """Serve the archive, call it, and type commands meanwhile."""
    heard, exporter = world.heard, InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    recorder = Recorder(
        lambda line: heard.hear("recorder", line), role=Role.CONTROLLER, clock=time.monotonic
    )

    def tap(way: Any, data: bytes) -> None:
        recorder(way, data)
        if way == "out":
            heard.hear("sent in the clear", data)

    async with trio.open_nursery() as nursery:
        await nursery.start(
            lambda task_status: serve_archive(
                world.estate.layout.archive(world.member.name),
                host=world.member.address.host,
                port=world.member.address.port,
                log=lambda text: heard.hear("owner's log", text),
                task_status=task_status,
            )
        )
        async with connect(
            world.member.address, key=world.key, tap=tap, middleware=[spans(provider)]
        ) as connection:
            await converse(world, connection)
        with heard.failing():
            async with connect(world.member.address, key=world.stranger) as refused:
                await refused.bootstrap.call("health")
        await ask_a_fleet(world)
        world.heard.hear("commands", (await attack_member(world.estate, "tower")).to_dict())
        await trio.to_thread.run_sync(run_commands, world, directory)
        nursery.cancel_scope.cancel()
    for span in exporter.get_finished_spans():
        heard.hear("metrics", span.to_json())


async def test_a_run_of_everything_says_no_token_no_key_and_no_row(
    estate: Estate, heard: Heard, tmp_path: Path
) -> None:
    """Attack 19: whoever reads logs, errors, recordings, metrics or a screen learns no secret."""
    world = World(heard, estate)
    await live(world, tmp_path)
    await look_inside(world)
    refuse_locally(world)
    run_commands_after = ["totebox", "audit", str(estate.layout.archive(world.member.name))]
    run_command(heard, run_commands_after)
    logging.getLogger("psp").debug("the handler listens")

    places = {"logging", "repr", "errors", "tracebacks", "describe", "metrics", "recorder"}
    assert places | {"commands", "owner's log"} == heard.by_place.keys()
    assert heard.found(Canaries(world.secrets)) == {}


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "raw": bytes,
    "hex": lambda data: data.hex().encode(),
    "repr": lambda data: repr(data).encode(),
    "base64": base64.b64encode,
    "base64 for addresses": base64.urlsafe_b64encode,
    "base32": base64.b32encode,
    "msgpack": msgpack.packb,
    "inside msgpack, in hex": lambda data: bytes(msgpack.packb([1, data, "x"])).hex().encode(),
    "inside base64": lambda data: base64.b64encode(b"ab" + data + b"cdefg"),
    "inside base32": lambda data: base64.b32encode(b"abc" + data + b"de"),
    "over lines": lambda data: base64.encodebytes(b"a" + data * 3),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_planted_secret_is_found(form: str) -> None:
    """The search above can find something."""
    planted = b"what was said before " + FORMS[form](CANARY) + b" and after"
    secret = Canaries({"planted": CANARY})

    assert secret.found_in(planted) == {"planted"}
    assert secret.found_in(FORMS[form](bytes(32)) + b"nothing here") == set()


def test_a_token_and_a_key_are_found_in_the_forms_that_psp_gives_them(heard: Heard) -> None:
    """As text for a mail, as a key file, as a log line with an argument."""
    key = machine()
    token = bytes(20) + CANARY * 5
    secret = Canaries({"key": seed_of(key), "canary": CANARY, "token": line_of(token)})

    assert secret.found_in(key.private_pem()) == {"key"}
    assert "token" in secret.found_in(token_to_text(token).encode())
    logging.getLogger("psp").debug("%r", CANARY)
    assert heard.found(secret) == {"logging": {"canary"}}
