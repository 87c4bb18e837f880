"""An estate on the operator's machine: opened, served, and its grants kept fresh."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psp.aggregator import Roster
from psp.errors import EstateError
from psp.transport import Passphrase, PassphraseSource

from ._create import build_estate
from ._draft import Draft
from ._grants import Grants
from ._layout import Layout, served
from ._policy import OWNER, TenantPolicy
from ._servers import Servers

RENEW_EVERY_S: Final = 300.0
"""A third of a grant's fifteen minutes, so that two renewals may fail before a view does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """What the operator holds: the roster, and the keys that grant.

    Attributes:
        rows_sealed: Rows sealed when it was made; 0 for an estate that was opened.
    """

    layout: Layout
    roster: Roster
    grants: Grants
    rows_sealed: int = 0

    @classmethod
    def open(cls, directory: str | Path, passphrase: PassphraseSource | None = None) -> Estate:
        """Open an estate that was made before.

        Args:
            passphrase: Asked for each of the keys that grant, if they are sealed.

        Raises:
            EstateError: There is none, or its files are damaged.
            KeyFileError: A key is missing, readable by others, or sealed otherwise.
        """
        layout = Layout(Path(directory))
        roster = Roster.load(layout.file)
        return cls(
            layout=layout,
            roster=roster,
            grants=Grants.load(layout, roster, passphrase),
        )

    @property
    def table(self) -> str:
        """The name of the first table; where all archives are of one kind, each of them has it."""
        return next(iter(self.grants.tables))

    def renew_grants(self) -> None:
        """Give every tenant a fresh token for every member, as its policy says now.

        A console gets the operator's link, for a day, and makes the rest itself; a tenant for whom
        an aggregator only carries gets nothing.

        Raises:
            EstateError: A policy is damaged, or names what no table has. Tokens that were given
                before stay as they are.
        """
        tenants = self.roster.tenants
        granted = [name for name, tenant in tenants.items() if not tenant.is_interactive]
        for policy in self.layout.policies(tuple(granted)):
            seat = tenants[policy.name].seat
            for member in self.roster.members:
                if not policy.covers(self.grants.of_kind[member.kind]):
                    continue
                if seat is None:
                    self.grants.write(policy, member)
                else:
                    self.grants.write_first(policy, member, seat.links)

    def serve(
        self,
        members: Sequence[str] = (),
        *,
        on_ready: Callable[[str], None] = lambda name: None,
        on_log: Callable[[str, str], None] = lambda name, text: None,
    ) -> Servers:
        """Serve the archives, or some of them, on this machine: a context manager.

        Raises:
            EstateError: The estate has no member of that name; on entering, a port is used or an
                archive cannot be opened.
        """
        return Servers(served(self.roster, self.layout, members), on_ready, on_log)

    def renew_while(self, servers: Servers) -> None:
        """Renew the grants again and again until every archive has ended.

        A policy that was edited wrongly is told to `servers.on_log` and tried again: one typing
        mistake must not end an estate that answers.
        """
        renewed_at = time.monotonic()
        while servers.pids:
            servers.poll(timeout_s=1.0)
            if time.monotonic() - renewed_at > RENEW_EVERY_S:
                try:
                    self.renew_grants()
                except EstateError as exc:
                    servers.on_log("estate", f"grants are not renewed: {exc}")
                renewed_at = time.monotonic()
        raise EstateError("every archive has ended; their messages are above. Start again: psp up")


def create_estate(
    *drafts: Draft,
    tenants: Sequence[TenantPolicy] = (OWNER,),
    labels: Mapping[str, str] | None = None,
    on_member: Callable[[str], None] = lambda name: None,
    passphrase: Passphrase | None = None,
) -> Estate:
    """Make an estate that a person has approved, and give every tenant its first grants.

    Args:
        drafts: At least one, all of one directory and engine. An archive that several of them name
            has a table of each.
        passphrase: Seals the owner's keys: root, anchor and operator. The others belong to
            machines that start by themselves.

    Raises:
        EstateError: The directory exists, or the disk refused.
        IntakeRefused: A row of a file does not fit the schema. Nothing was made.
    """
    rows = build_estate(
        drafts, tenants=tenants, labels=labels, on_member=on_member, passphrase=passphrase
    )
    opened = Estate.open(drafts[0].root, None if passphrase is None else lambda path: passphrase)
    opened.renew_grants()
    return Estate(
        layout=opened.layout,
        roster=opened.roster,
        grants=opened.grants,
        rows_sealed=rows,
    )
