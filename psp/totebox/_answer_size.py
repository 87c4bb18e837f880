"""How many bytes an answer takes, against what a rule allows."""

from __future__ import annotations

from collections.abc import Mapping

import msgpack

from psp.capability import UNLIMITED, TableRule
from psp.errors import LimitExceeded
from psp.values import Value, to_ext


def check_size(answer: Mapping[str, Value], rule: TableRule) -> None:
    """Refuse an answer that is longer than a rule allows.

    Raises:
        LimitExceeded: It is.
    """
    if rule.bytes_max == UNLIMITED:
        return  # A row is looked at in microseconds, and packing it takes some of them.
    size = len(msgpack.packb(answer, default=to_ext))
    if size > rule.bytes_max:
        raise LimitExceeded(
            f"an answer of {size} bytes; this grant allows {rule.bytes_max}. Ask for less."
        )


def groups_in(figures: Mapping[str, Value]) -> int:
    """Count the cells of figures that an answer shows."""
    cells = figures["cells"]
    assert isinstance(cells, list)
    return len(cells) + (figures["other"] is not None)
