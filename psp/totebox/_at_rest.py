"""What an archive would hold a token against, read from its files beside whoever serves it.

Nothing is opened for writing, locked or used up: it is for the owner, who may look at any time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from psp.capability import (
    NEVER_SEEN,
    Anchor,
    Scope,
    Seen,
    Standing,
    ceiling,
    verify_anchor_untrusted,
)
from psp.errors import ArchiveError, CapabilityError, LedgerError
from psp.ledger import Ledger, settled_checkpoint

from ._founding import ledger_origin
from ._manifest import Manifest
from ._manifest_file import read_manifest
from ._owner import epoch_of
from ._pairing import Pairing, read_pairings
from ._said import Said, said_in
from ._storage import holds_kind_of


@dataclass(frozen=True, slots=True)
class AtRest:
    """An archive's own statements about itself, and what its owner has said since.

    Attributes:
        said: As far as the ledger tells. The memory of an archive that is served cannot be read.
        epoch: In force; whoever issues has to name it.
    """

    manifest: Manifest
    anchor: Anchor
    anchor_statement: bytes
    pairings: tuple[Pairing, ...]
    ledger: Ledger
    said: Said
    epoch: int

    @property
    def standing(self) -> Standing:
        """What the archive holds against chains; budgets that are spent are not among it."""
        return self.said.standing(self.ledger, self.epoch)

    def ceiling_of(self, pairing: Pairing) -> Scope:
        """Give the most that a grant can open for a paired machine."""
        tables = {table.name: table.column_names for table in self.manifest.tables}
        return ceiling(pairing.ceiling, tables, self.manifest.floor)

    def check_scope(self, scope: Scope) -> None:
        """Refuse a scope that names what is not there: it would open less than it says.

        Raises:
            CapabilityError: A table or column does not exist, or a row domain has values of
                another kind than its column, so that no row is in it.
        """
        for name, rule in scope.tables.items():
            try:
                table = self.manifest.table(name)
            except KeyError:
                names = ", ".join(each.name for each in self.manifest.tables)
                raise CapabilityError(
                    f"the scope names the table {name!r}; the archive has {names}."
                ) from None
            if unknown := sorted(rule.columns - set(table.column_names)):
                raise CapabilityError(
                    f"the scope names the column {unknown[0]!r}; {name!r} has"
                    f" {', '.join(table.column_names)}."
                )
            for column, domain in rule.rows.items():
                if not holds_kind_of(table.column(column), domain):
                    raise CapabilityError(
                        f"no row is in the scope: {column!r} holds {table.column(column).type}"
                        " values, and is compared with others. A date is written"
                        " date '2014-05-02', a number without quotes."
                    )


def read_at_rest(directory: Path) -> AtRest:
    """Read an archive's manifest, anchor statement, pairings, and its owner's words in the ledger.

    Raises:
        ArchiveError: They are not there, or not readable.
        LedgerError: The ledger is damaged, or not signed by its key.
        CapabilityError: The anchor statement is not this archive's.
    """
    try:
        manifest = read_manifest((directory / "manifest.toml").read_text("utf-8"))
        statement = (directory / "keys" / "anchor").read_bytes()
    except (OSError, UnicodeDecodeError) as exc:
        raise ArchiveError(
            f"{directory} is no archive that can be read ({exc}). Check the path."
        ) from exc
    anchor = verify_anchor_untrusted(statement, archive_id=manifest.archive_id)
    origin = ledger_origin(manifest.archive_id)
    ledger = Ledger.open(directory / "ledger", origin=origin, public_key=anchor.ledger_key)
    said = said_in(ledger)
    # An epoch is in this file before it is in the ledger, which may be busy.
    epoch = max(anchor.epoch, said.epoch, epoch_of(directory) or 0)
    pairings = tuple(read_pairings(directory))
    return AtRest(manifest, anchor, statement, pairings, ledger, said, epoch)


def seen_at_rest(directory: Path, archive_id: bytes) -> Seen:
    """Say what a signer on this machine knows of an archive's ledger: the `seen` of a first link.

    Never more than the archive itself knows, whoever is writing: a signer who claims more than
    there is stops it. For the same reason nothing is claimed where no signed checkpoint of this
    archive is at hand.
    """
    try:
        statement = (directory / "keys" / "anchor").read_bytes()
        anchor = verify_anchor_untrusted(statement, archive_id=archive_id)
        known = settled_checkpoint(
            directory / "ledger", origin=ledger_origin(archive_id), public_key=anchor.ledger_key
        )
    except (OSError, CapabilityError, LedgerError):
        return NEVER_SEEN
    return Seen(known.tree_size, known.root_hash) if known.tree_size else NEVER_SEEN
