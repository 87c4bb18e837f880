"""The rows of one member, in columns, where they landed: what its grant allows, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict, Unpack

import trio

from psp.buffers import Buffers
from psp.endpoint import Landed, Progress, land
from psp.errors import DeadlineExceeded, EstateError, Processed
from psp.plan import Listing

from ._carried import CarriedLine
from ._limits import DEADLINE_S, WINDOW_BYTES, WINDOW_LOCAL_BYTES
from ._line import Line


class RowsOptions(TypedDict, total=False):
    """How rows are read, the same through every door.

    Attributes:
        deadline_s: Seconds after which they must have come whole; `DEADLINE_S` by default.
        progress: Kept up to date while they come, to be looked at from elsewhere.
    """

    deadline_s: float
    progress: Progress


async def read_rows(
    lines: Mapping[str, Line],
    member: str,
    listing: Listing,
    buffers: Buffers,
    *,
    bytes_max: int,
    **options: Unpack[RowsOptions],
) -> Landed:
    """Read rows of one archive; handed over where that is possible, else over TLS.

    Raises:
        EstateError: There is no such archive.
        DeadlineExceeded: Not whole in time.
        PSPError: Whatever the archive or the way to it did.
    """
    # A signed call brings one value, and an aggregator carries no stream.
    archives = sorted(
        name
        for name, line in lines.items()
        if not line.member.is_aggregator and not isinstance(line, CarriedLine)
    )
    if member not in archives:
        raise EstateError(
            f"rows were asked of {member!r}, to which there is no connection of our own; there is"
            f" one to {archives}. Ask where the archive itself is connected to"
        )
    line, deadline_s = lines[member], options.get("deadline_s", DEADLINE_S)
    with trio.move_on_after(deadline_s):
        is_local = (await line.connection()).is_local
        return await line.ask(
            lambda grant: land(
                grant.call("table", listing.table, timeout_s=deadline_s).call(
                    "rows",
                    listing.to_wire(),
                    is_local,
                    timeout_s=deadline_s,
                    accept_bytes=WINDOW_LOCAL_BYTES if is_local else WINDOW_BYTES,
                ),
                buffers,
                bytes_max=bytes_max,
                progress=options.get("progress"),
            )
        )
    raise DeadlineExceeded(
        f"the rows of {listing.table!r} at {member!r} had not come whole within {deadline_s:g}"
        " seconds. Ask for fewer rows or columns, or give a longer `deadline_s`",
        processed=Processed.MAYBE,
    )
