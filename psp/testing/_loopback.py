"""An object served on this machine, with keys made for the occasion: for tests and first steps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.endpoint import Address, Exposed, Middleware, serve
from psp.errors import Denied
from psp.transport import MachineKey, Peer, Pin, check_certificate_untrusted

ARCHIVE_ID: Final = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Loopback:
    """Where the object is served, and the key of the one machine that may connect.

    Attributes:
        log: What the subject has logged: faults and refusals.
    """

    address: Address
    key: MachineKey
    log: list[str] = field(default_factory=list)


def refuse_all(_peer: Peer, _token: bytes) -> Exposed:
    """Take no grant; what can be called is called on the bootstrap object."""
    raise Denied


@asynccontextmanager
async def loopback(
    bootstrap: Callable[[], Exposed],
    *,
    present: Callable[[Peer, bytes], Exposed] = refuse_all,
    middleware: Sequence[Middleware] = (),
) -> AsyncIterator[Loopback]:
    """Serve an object over real TLS on 127.0.0.1 until the block is left.

        async with loopback(Room) as near, connect(near.address, key=near.key) as connection:
            print(await connection.bootstrap.call("add", 20, 22))

    Args:
        bootstrap: Makes the object, once for each connection.
        present: Verifies a token and makes what it grants; every token is refused if not given.
    """
    subject_key, key = (MachineKey(Ed25519PrivateKey.generate()) for _ in range(2))
    log: list[str] = []
    raised: BaseException | None = None
    async with trio.open_nursery() as nursery:
        host, port = await nursery.start(
            partial(
                serve,
                key=subject_key,
                archive_id=ARCHIVE_ID,
                pins=[Pin("loopback", check_certificate_untrusted(key.certificate_pem))],
                bootstrap=lambda _peer: bootstrap(),
                present=present,
                host="127.0.0.1",
                port=0,
                log=log.append,
                middleware=middleware,
            )
        )
        address = Address(ARCHIVE_ID, host, port, subject_key.certificate_pem, "loopback")
        try:
            yield Loopback(address, key, log)
        except trio.Cancelled:
            raise
        except BaseException as exc:
            # Carried around the nursery, which would wrap what a test raises in a group.
            raised = exc
        finally:
            nursery.cancel_scope.cancel()
    if raised is not None:
        raise raised
