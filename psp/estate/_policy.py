"""What each tenant of an estate may ask: the operator's own words, from which grants are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from psp.capability import ARCHIVE_METHODS, ARCHIVE_OBJECT

AGGREGATES: Final = (
    *("meta", "exists", "count", "sum", "mean", "min", "max"),
    *("variance", "distinct", "histogram"),
)
"""What an owner's own office may compute. `exists` lets it hear `empty` where there is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPolicy:
    """What the operator's console grants one tenant, on every member of the estate.

    Attributes:
        sentence: For people: who the tenant is.
        pairing: The ceiling, INTERFACE, USER, INPUT or ADMIN (docs/capabilities.md).
        operations: What it may compute.
        columns: What it may aggregate; empty means every column there is.
        by: What it may filter and group by; empty means every column there is.
        floor: The least number of subjects behind anything it is shown.
        objects: Methods of the archive's own objects, as `ledger: [prove]`.
        tables: The tables it has anything of; empty means every table there is. An archive that has
            none of them is neither paired with it nor granted.
    """

    name: str
    sentence: str
    pairing: str = "USER"
    operations: tuple[str, ...] = AGGREGATES
    columns: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    floor: int = 1
    objects: Mapping[str, tuple[str, ...]]
    tables: tuple[str, ...] = ()

    def covers(self, tables: Iterable[str]) -> bool:
        """Whether it has anything of an archive with these tables."""
        return not self.tables or not set(self.tables).isdisjoint(tables)

    def to_document(self) -> dict[str, Any]:
        """The form in `policy.toml`."""
        return {
            "sentence": self.sentence,
            "pairing": self.pairing,
            "operations": list(self.operations),
            "columns": list(self.columns),
            "by": list(self.by),
            "floor": self.floor,
            "objects": {name: list(methods) for name, methods in self.objects.items()},
            **({"tables": list(self.tables)} if self.tables else {}),
        }

    @classmethod
    def from_document(cls, name: str, document: Mapping[str, Any]) -> TenantPolicy:
        """Read it back.

        Raises:
            KeyError, TypeError: A field is missing or of the wrong kind.
        """
        return cls(
            name=name,
            sentence=str(document["sentence"]),
            pairing=str(document["pairing"]),
            operations=tuple(document["operations"]),
            columns=tuple(document["columns"]),
            by=tuple(document["by"]),
            floor=int(document["floor"]),
            objects={key: tuple(methods) for key, methods in document["objects"].items()},
            tables=tuple(document.get("tables", ())),
        )


OWNER: Final = TenantPolicy(
    name="owner",
    sentence="The owner's office: aggregates over every column of its own companies.",
    objects={"ledger": ("prove",)},
)
"""The one tenant of a new estate."""

ADMINISTRATOR: Final = TenantPolicy(
    name="admin",
    sentence="The administrator: audits, suspends, resumes and appends; is shown no figure.",
    pairing="ADMIN",
    operations=("append",),
    objects={ARCHIVE_OBJECT: tuple(sorted(ARCHIVE_METHODS))},
)
"""A second tenant for whoever tells archives to do something (docs/fleet.md, "Commands")."""
