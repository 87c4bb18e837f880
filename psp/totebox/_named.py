"""Objects that a program exposes beside its archive, to grants that name them and their methods."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from psp.capability import ARCHIVE_OBJECT, Scope, ceiling
from psp.endpoint import Exposed
from psp.errors import ArchiveError
from psp.rpc import CallReady

from ._granted import Granted, Shared, refuse_signed
from ._live import LiveGrant
from ._manifest import Manifest
from ._pairing import Pairing

_OWN_NAMES: Final = frozenset({ARCHIVE_OBJECT, "ledger"})
"""Objects of the archive's own. A program's under such a name would lend them its ceiling."""

_OBJECTS_NEED: Final = frozenset({"USER", "INPUT", "ADMIN"})
"""An INTERFACE sees aggregates, and what a program's own methods tell is anything."""


class NamedObject(Granted):
    """A program's object, as one grant shows it: the methods that it names, as long as it stands.

    What a method gives out as an object of its own is the program's to guard. Its calls are no
    reads of the archive, so none is on record.
    """

    def __init__(
        self, desk: Shared, time: LiveGrant, target: Exposed, methods: Collection[str]
    ) -> None:
        super().__init__(desk, time)
        self.psp_methods = {  # type: ignore[misc]  # Here each object has a table of its own.
            name: replace(method, function=_on(target, method.function))
            for name, method in target.psp_methods.items()
            if name in methods
        }
        self._target = target

    def check(self, call: CallReady) -> None:
        self.check_open()
        refuse_signed(call)
        self._target.check(call)


def check_names(objects: Collection[str]) -> None:
    """Look at the names of what a program exposes beside its archive.

    Raises:
        ArchiveError: One is a name of the archive's own.
    """
    if taken := sorted(_OWN_NAMES.intersection(objects)):
        raise ArchiveError(
            f"an object was to be exposed as {taken[0]!r}, which is a name of the archive's own."
            " Choose another name."
        )


def ceilings_of(
    manifest: Manifest, pairings: Iterable[Pairing], objects: Mapping[str, Exposed]
) -> dict[bytes, Scope]:
    """Give the most that any grant can show to each paired machine, by its key's hash."""
    tables = {table.name: table.column_names for table in manifest.tables}
    named = {name: frozenset(one.psp_methods) for name, one in objects.items()}
    found = {}
    for one in pairings:
        under = ceiling(one.ceiling, tables, manifest.floor)
        if one.ceiling in _OBJECTS_NEED:
            under = Scope(under.tables, {**named, **under.objects})
        found[one.pin.certificate.spki_hash] = under
    return found


def _on(target: Exposed, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _guard, *arguments: function(target, *arguments)
