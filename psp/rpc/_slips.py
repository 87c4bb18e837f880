"""What a caller did wrong, in words: found before anything is sent."""

from __future__ import annotations

from psp.errors import LimitExceeded, LocalProtocolError
from psp.wire import ID_MAX, INVOCATION_BYTES_MAX, METHOD_CHARACTERS_MAX, REMAINING_MS_MAX


def not_sendable(
    method: str, remaining_ms: int, accept_bytes: int, invocation: bytes | None
) -> LocalProtocolError | LimitExceeded:
    """Say which part of a call no frame can carry."""
    for name, found, kind in (
        ("method", method, str),
        ("remaining_ms", remaining_ms, int),
        ("accept_bytes", accept_bytes, int),
        ("invocation", b"" if invocation is None else invocation, bytes),
    ):
        if type(found) is not kind:
            return LocalProtocolError(
                f"{name} is {kind.__name__} and not {type(found).__name__}; convert it before"
            )
    if not 0 < len(method) <= METHOD_CHARACTERS_MAX:
        return LocalProtocolError(
            f"a method name has 1 to {METHOD_CHARACTERS_MAX} characters, not {len(method)}"
        )
    if not 0 <= remaining_ms <= REMAINING_MS_MAX:
        return LocalProtocolError(
            f"remaining_ms={remaining_ms}; choose 0 to {REMAINING_MS_MAX} (a day)"
        )
    if not 0 <= accept_bytes <= ID_MAX:
        return LocalProtocolError(f"accept_bytes={accept_bytes}; choose 0 to 2**63-1")
    assert invocation is not None
    return LimitExceeded(
        f"an invocation of {len(invocation)} bytes; the limit is {INVOCATION_BYTES_MAX}"
    )
