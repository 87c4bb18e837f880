"""Errors on their way from the peer to whoever awaits."""

from __future__ import annotations

from psp.errors import CallFailed, Disconnected, NotPaired, PSPError
from psp.visible import is_visible

from ._address import Address


def fresh(failure: PSPError) -> PSPError:
    """Copy an error, so that each task that raises it has a traceback of its own."""
    if isinstance(failure, CallFailed):
        return type(failure)(
            str(failure), processed=failure.processed, correlation_id=failure.correlation_id
        )
    if isinstance(failure, Disconnected):
        return type(failure)(*failure.args)
    return failure


def printable(text: str) -> str:
    """Neutralise a peer's text: no control, line end, bidi or otherwise invisible character
    survives.

    The least that every text needs, of any length. `psp.console.neutral` does more for a screen.
    """
    if is_visible(text):
        return text
    return "".join(letter if is_visible(letter) else "�" for letter in text)


def made_printable(failure: CallFailed) -> CallFailed:
    return type(failure)(
        printable(str(failure)),
        processed=failure.processed,
        correlation_id=printable(failure.correlation_id),
    )


def other_archive(address: Address) -> NotPaired:
    return NotPaired(
        f"the archive at {address.host}:{address.port} is not {address.name!r}: it has another id."
        " Check the address; if the archive was made anew, pair with it again."
    )
