"""A fleet over a virtual network: real cores on both sides, no socket, and the time of a mock."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import trio

from psp.aggregator import Member, Roster, Tenant, TrioFleet, open_fleet
from psp.endpoint import Address, Exposed, method
from psp.errors import CallFailed
from psp.testing import VirtualHost, VirtualNetwork
from psp.transport import MachineKey

NOTE = (
    b"psp-archive/virtual/reads\n1\n"
    + b64encode(bytes(32))
    + b"\n\n\xe2\x80\x94 psp-archive/virtual"
    b"/reads " + b64encode(bytes(68)) + b"\n"
)
"""A signed checkpoint in form; nobody here has its key."""


class Table(Exposed):
    def __init__(self, box: Box) -> None:
        self._box = box

    @method
    async def query(self, plan: list[object]) -> dict[str, object]:
        box = self._box
        box.queries += 1
        box.plans.append(plan)
        await trio.sleep(box.takes_s)
        if box.failures:
            raise box.failures.pop(0)
        return {**box.answer(), **({"read": 0} if box.entry else {})}


class Grant(Exposed):
    def __init__(self, box: Box) -> None:
        self._box = box

    @method
    def describe(self) -> dict[str, object]:
        return {"tables": [{"name": "rows"}]}

    @method
    def table(self, name: str) -> Table:
        return Table(self._box)

    @method
    def receipt(self, index: int) -> dict[str, object]:
        return {"index": index, "hashes": [], "checkpoint": NOTE, "entry": self._box.entry}


class Bootstrap(Exposed):
    def __init__(self, box: Box) -> None:
        self._box = box

    @method
    def health(self) -> dict[str, object]:
        return {"state": self._box.state, "tree_size": 1, "record_bytes": 0, "result_bytes": 0}


@dataclass
class Box:
    """A member's other end: answers `count` and `amount` after `takes_s`, or fails as told."""

    count: int = 1
    amount: Decimal = Decimal("1.25")
    hidden: int = 0
    entry: bytes = b""
    takes_s: float = 0.0
    state: str = "active"
    queries: int = 0
    failures: list[CallFailed] = field(default_factory=list)
    plans: list[list[object]] = field(default_factory=list)
    tokens: list[bytes] = field(default_factory=list)

    def answer(self) -> dict[str, object]:
        return {
            "as_of": 1,
            "cells": [[[], [self.count, self.amount]]] if self.count else [],
            "other": None,
            "hidden": [],
            "hidden_count": self.hidden,
            "floor": 10,
        }

    def host(self) -> VirtualHost:
        def present(_peer: object, token: bytes) -> Exposed:
            self.tokens.append(token)
            return Grant(self)

        return VirtualHost(lambda: Bootstrap(self), present)


class Ready(Tenant):
    """A tenant whose token needs no file."""

    def token_for(self, member: str) -> bytes:
        return f"{self.name} for {member}".encode()


@cache
def key_file(directory: Path) -> Path:
    file = directory / "machine.key"
    MachineKey.create(file)
    return file


@dataclass
class Estate:
    network: VirtualNetwork
    roster: Roster
    boxes: dict[str, Box]

    def host(self, name: str) -> VirtualHost:
        return self.network.hosts[self.address(name).archive_id]

    def address(self, name: str) -> Address:
        return next(it.address for it in self.roster.members if it.name == name)


def estate(
    directory: Path,
    members: Sequence[Member],
    *,
    tenants: Sequence[str] = ("owner",),
    box: Callable[[Member], Box] = lambda member: Box(),
) -> Estate:
    network = VirtualNetwork()
    boxes = {member.name: box(member) for member in members}
    for member in members:
        network.hosts[member.address.archive_id] = boxes[member.name].host()
    roster = Roster(
        name="virtual",
        file=directory / "estate.toml",
        members=tuple(members),
        tenants={
            name: Ready(name=name, sentence="", key_file=key_file(directory), grants=directory)
            for name in tenants
        },
    )
    return Estate(network, roster, boxes)


def member(name: str, **more: Any) -> Member:
    archive_id = name.encode().ljust(32, b"\0")
    return Member(
        name=name, label=name, address=Address(archive_id, "virtual", 1, "", name), **more
    )


def named(*names: str) -> list[Member]:
    return [member(name) for name in names]


@asynccontextmanager
async def fleet(of: Estate, *, tenant: str | None = None) -> AsyncIterator[TrioFleet]:
    async with open_fleet(of.roster, tenant=tenant, dial=of.network.dial) as opened:
        opened.fan.chance = Random(1)
        yield opened
