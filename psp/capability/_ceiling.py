"""Pairing types as ceilings: the most that any grant can open for a machine paired in this way.

A ceiling gives nothing by itself. It is met with every link, so a machine paired as INTERFACE reads
no record even if the owner's own key has signed that it may.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from ._scope import Operation, Scope, TableRule


class Pairing(Enum):
    """How a machine is paired with an archive, from the least to the most."""

    INTERFACE = "INTERFACE"
    USER = "USER"
    INPUT = "INPUT"
    ADMIN = "ADMIN"


# `sketch` discloses pseudonyms and `asset` whole documents: only ADMIN may be granted them.
_INTERFACE: Final = frozenset(
    {
        Operation.META,
        Operation.COUNT,
        Operation.SUM,
        Operation.MEAN,
        Operation.VARIANCE,
        Operation.DISTINCT,
        Operation.HISTOGRAM,
    }
)
_USER: Final = _INTERFACE | {Operation.EXISTS, Operation.MIN, Operation.MAX, Operation.READ}

CEILING_OPERATIONS: Final[Mapping[Pairing, frozenset[Operation]]] = {
    Pairing.INTERFACE: _INTERFACE,
    Pairing.USER: _USER,
    Pairing.INPUT: _USER | {Operation.APPEND},
    Pairing.ADMIN: frozenset(Operation),
}

_ROWS_MAX: Final = 1000
"""Records per call under any pairing, ADMIN included: no pairing is a bulk export."""

ARCHIVE_OBJECT: Final = "archive"
ARCHIVE_METHODS: Final = frozenset({"audit", "resume", "suspend"})
"""What changes an archive itself and no table of it: only ADMIN may be granted it."""

_OBJECTS: Final = {"ledger": frozenset({"prove"})}
"""Proving that an answer is in the ledger reveals nothing that the answer did not."""
_ADMIN_OBJECTS: Final = {**_OBJECTS, ARCHIVE_OBJECT: ARCHIVE_METHODS}


def ceiling(pairing: Pairing | str, tables: Mapping[str, Iterable[str]], floor: int) -> Scope:
    """Make the ceiling of one pairing over an archive's tables.

    Args:
        tables: Each table's column names.
        floor: The owner's: no grant under this pairing speaks about fewer subjects.

    Raises:
        ValueError: There is no pairing of that name.
    """
    kind = Pairing(pairing)
    return Scope(
        {name: _rule(kind, columns, floor) for name, columns in tables.items()},
        _ADMIN_OBJECTS if kind is Pairing.ADMIN else _OBJECTS,
    )


def _rule(kind: Pairing, columns: Iterable[str], floor: int) -> TableRule:
    names = frozenset(columns)
    return TableRule(
        operations=CEILING_OPERATIONS[kind],
        output=names,
        filters=names,
        groups=names,
        aggregates_only=kind is Pairing.INTERFACE,
        floor=floor,
        rows_max=_ROWS_MAX,
        local=True,
    )
