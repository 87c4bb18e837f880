"""Property, lease, contract, sealed original, its ledger proof: five hops in one round trip.

python examples/pipelining.py
"""

import tempfile
from pathlib import Path
from typing import TypedDict

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp import Exposed, MachineKey, Result, Stub, connect, method, remote
from psp.endpoint import check_implements
from psp.ledger import Ledger, hash_leaf, verify_checkpoint_untrusted, verify_inclusion
from psp.testing import loopback

ORIGIN = "example.com/bellevue"


class Proof(TypedDict):
    index: int
    path: list[bytes]
    checkpoint: bytes


# What the asker knows: five contracts of one line each.


class Original(Stub):
    @remote
    def read(self) -> Result[bytes]: ...

    @remote
    def proof(self) -> Result[Proof]: ...


class Contract(Stub):
    @remote
    def original(self) -> Original: ...


class Lease(Stub):
    @remote
    def contract(self) -> Contract: ...


class Property(Stub):
    @remote
    def lease(self, year: int) -> Lease: ...


class Town(Stub):
    @remote
    def property(self, parcel: str) -> Property: ...


# What the archive serves: one object for each hop, and a ledger that the originals are sealed in.


class OriginalService(Exposed):
    def __init__(self, ledger: Ledger, index: int) -> None:
        self.ledger, self.index = ledger, index

    @method
    def read(self) -> bytes:
        return self.ledger.entries(self.index, self.index + 1)[0]

    @method
    def proof(self) -> dict[str, object]:
        path = self.ledger.prove_inclusion(self.index, self.ledger.checkpoint.tree_size)
        return {"index": self.index, "path": path, "checkpoint": self.ledger.note}


class HopService(Exposed):
    """Property, lease and contract: each leads one step further down to the original."""

    def __init__(self, original: OriginalService) -> None:
        self.below = original

    @method
    def lease(self, year: int) -> "HopService":
        return self

    @method
    def contract(self) -> "HopService":
        return self

    @method
    def original(self) -> OriginalService:
        return self.below


class TownService(Exposed):
    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    @method
    def property(self, parcel: str) -> HopService:
        return HopService(OriginalService(self.ledger, int(parcel)))


check_implements(TownService, Town)
check_implements(OriginalService, Original)


async def main() -> None:
    key = MachineKey(Ed25519PrivateKey.generate())
    with (
        tempfile.TemporaryDirectory() as directory,
        Ledger.create(Path(directory) / "ledger", origin=ORIGIN, key=key) as ledger,
    ):
        ledger.append([b"contract of parcel %d" % number for number in range(1000)])
        async with (
            loopback(lambda: TownService(ledger)) as near,
            connect(near.address, key=near.key) as connection,
        ):
            town = Town.of(connection.bootstrap)
            # Nothing is awaited up to here: each call is made on the promise of the one before.
            original = town.property("417").lease(2026).contract().original()
            text, proof = original.read(), original.proof()
            sealed, proven = await text, await proof
            round_trips = connection.statistics().round_trips

    checkpoint = verify_checkpoint_untrusted(
        proven["checkpoint"], origin=ORIGIN, public_key=key.public_bytes
    )
    verify_inclusion(hash_leaf(sealed), proven["index"], proven["path"], checkpoint)
    print(f"{sealed.decode()}: entry {proven['index']} of {checkpoint.tree_size}, proven")
    print(f"five hops, {round_trips} round trip")


if __name__ == "__main__":
    trio.run(main)
