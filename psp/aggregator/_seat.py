"""The lines of one tenant: an office with grants in files, or a person at a console."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.endpoint import Address
from psp.transport import MachineKey, PassphraseSource

from ._carried import CarriedLine
from ._line import Dial, Line
from ._links import Links
from ._roster import Member, Roster, Seat, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How the lines of one fleet are opened.

    Attributes:
        key: What every connection presents.
        clock: Seconds since 1970.
        passphrase: Asked if the operator's key of a console is sealed.
    """

    key: MachineKey
    nursery: trio.Nursery
    connect_s: float
    dial: Dial
    clock: Callable[[], float]
    passphrase: PassphraseSource | None = None

    def line(
        self, member: Member, tenant: Tenant, links: Links | None = None, door: str = "fleet"
    ) -> Line:
        """Make a line; nothing is connected."""
        return Line(
            member=member,
            tenant=tenant,
            key=self.key,
            nursery=self.nursery,
            connect_s=self.connect_s,
            dial=self.dial,
            links=links,
            door=door,
        )


def lines_of(roster: Roster, tenant: Tenant, way: Way) -> Mapping[str, Line]:
    """Make one line per member.

    Raises:
        KeyFileError: The operator's key of a console cannot be read.
    """
    if (seat := tenant.seat) is None:
        return {member.name: way.line(member, tenant) for member in roster.members}
    if seat.through is not None:
        return _carried(roster, tenant, seat, seat.through, way)
    links = _links(tenant, seat, way, holder=way.key.public_bytes, presenter=way.key.spki_hash)
    return {member.name: way.line(member, tenant, links) for member in roster.members}


def _carried(
    roster: Roster, tenant: Tenant, seat: Seat, through: Address, way: Way
) -> Mapping[str, Line]:
    # A key that no file has: whoever takes the console's disk later can sign nothing.
    signer = MachineKey(Ed25519PrivateKey.generate())
    links = _links(tenant, seat, way, holder=signer.public_bytes, presenter=seat.presenter)
    place = Member(name=through.name, label=through.name, address=through, is_aggregator=True)
    hub = way.line(place, tenant, door="carrier")
    return {
        member.name: CarriedLine(
            member=member,
            tenant=tenant,
            key=way.key,
            nursery=way.nursery,
            connect_s=way.connect_s,
            dial=way.dial,
            hub=hub,
            signer=signer,
            own=links,
            clock=way.clock,
        )
        for member in roster.members
    }


def _links(tenant: Tenant, seat: Seat, way: Way, *, holder: bytes, presenter: bytes) -> Links:
    operator = MachineKey.load(seat.operator_file, way.passphrase)
    return Links(tenant, seat, operator, holder=holder, presenter=presenter, clock=way.clock)
