"""The operator's side of every grant: from a policy in words to a token in a file."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from psp.aggregator import Member, Roster
from psp.capability import (
    UNLIMITED,
    Operation,
    RowDomain,
    Scope,
    TableRule,
    issue,
    narrow,
    one_of,
    token_to_text,
)
from psp.errors import EstateError
from psp.totebox import Table, epoch_of, read_manifest, seen_at_rest
from psp.transport import MachineKey, PassphraseSource, PeerCertificate

from ._create import EPOCH_FIRST
from ._layout import Layout
from ._policy import TenantPolicy

OPERATOR_S: Final = 24 * 3600
"""Link 0 of a renewal. The format allows seven days; an operator who is here needs no more than
today."""
ROWS_READ_MAX: Final = 2_000
"""Rows that one call of a tenant reads, where its policy lets it read rows: what a comparison of
two archives may ask for."""
TENANT_S: Final = 15 * 60
"""How long a stolen laptop of a tenant can still ask. Renewed every five minutes while `psp up`
runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """The keys that grant, and the tables there are.

    Attributes:
        of_kind: The tables of each kind of archive, by name.
    """

    layout: Layout
    anchor: MachineKey
    operator: MachineKey
    of_kind: Mapping[str, Mapping[str, Table]]

    @classmethod
    def load(
        cls, layout: Layout, roster: Roster, passphrase: PassphraseSource | None = None
    ) -> Grants:
        """Read the keys, and the tables from the first manifest of each kind: all have the same.

        Raises:
            KeyFileError: A key is missing, readable by others, or sealed otherwise.
            EstateError: There is no archive in the estate, or none of some kind.
        """
        return cls(
            layout=layout,
            anchor=MachineKey.load(layout.anchor_key, passphrase),
            operator=MachineKey.load(layout.operator_key, passphrase),
            of_kind=_tables_of_kinds(layout, roster),
        )

    @property
    def tables(self) -> dict[str, Table]:
        """Every table of the estate by its name, whatever archives have it."""
        return {name: table for tables in self.of_kind.values() for name, table in tables.items()}

    def write(self, policy: TenantPolicy, member: Member) -> None:
        """Put a fresh token of one tenant for one member in its file; readers see old or new.

        Raises:
            EstateError: The policy names a column or an operation that does not exist.
        """
        _write(self.of(policy, member), self.layout.token(policy.name, member.name))

    def write_first(
        self,
        policy: TenantPolicy,
        member: Member,
        links: Path,
        holder: PeerCertificate | None = None,
    ) -> None:
        """Put a fresh first link, which a console narrows by itself, into a directory.

        Args:
            holder: Of the key that will hold it; by default the operator's key of this estate.

        Raises:
            EstateError: The policy names a column or an operation that does not exist.
        """
        links.mkdir(parents=True, exist_ok=True)
        scope = self._scope(policy, self.of_kind[member.kind])
        link = self._first(member, scope, int(time.time()), holder or self.operator)
        _write(link, links / f"{member.name}.token")

    def of(self, policy: TenantPolicy, member: Member) -> bytes:
        """Make a token of what a policy allows, for a quarter of an hour.

        Raises:
            EstateError: The policy names a column or an operation that does not exist.
        """
        tenant = MachineKey.load(self.layout.machine_key(policy.name))
        scope = self._scope(policy, self.of_kind[member.kind])
        return self._token(member, scope, tenant, seconds=TENANT_S)

    def one_row(
        self,
        tenant: str,
        member: Member,
        *,
        key: Mapping[str, str | int | date],
        columns: Iterable[str],
        seconds: int,
    ) -> bytes:
        """Make a token that reads one row, for so many seconds, and proves where it is sealed."""
        (table,) = self.tables
        rows: dict[str, RowDomain] = {column: one_of([value]) for column, value in key.items()}
        rule = TableRule(
            operations=frozenset({Operation.READ}),
            output=frozenset(columns),
            filters=frozenset(key),
            rows=rows,
            rows_max=1,
        )
        scope = Scope(tables={table: rule}, objects={"ledger": frozenset({"prove"})})
        machine = MachineKey.load(self.layout.machine_key(tenant))
        return self._token(member, scope, machine, seconds=seconds)

    def _token(self, member: Member, scope: Scope, tenant: MachineKey, *, seconds: int) -> bytes:
        now = int(time.time())
        operator = self._first(member, scope, now, self.operator)
        # The holder is the presenter: mutual TLS has just proven its key, so calls need no
        # signature of their own.
        return narrow(
            operator,
            self.operator,
            holder=tenant.public_bytes,
            presenter=tenant.spki_hash,
            scope=scope,
            not_before_s=now,
            not_after_s=now + seconds,
            depth=0,
            nonce=secrets.token_bytes(16),
        )

    def _first(
        self, member: Member, scope: Scope, now: int, holder: MachineKey | PeerCertificate
    ) -> bytes:
        """Make link 0, which an operator's key holds for a day.

        It tells of the ledger here, so whoever shows it to an older copy of the archive stops that.
        """
        archive, archive_id = self.layout.archive(member.name), member.address.archive_id
        return issue(
            self.anchor,
            archive_id=archive_id,
            epoch=epoch_of(archive) or EPOCH_FIRST,
            holder=holder.public_bytes,
            presenter=holder.spki_hash,
            scope=scope,
            not_before_s=now,
            not_after_s=now + OPERATOR_S,
            depth=1,
            nonce=secrets.token_bytes(16),
            seen=seen_at_rest(archive, archive_id),
        )

    def _scope(self, policy: TenantPolicy, tables: Mapping[str, Table]) -> Scope:
        self._check_names(policy)
        rules = {}
        for name, table in tables.items():
            if not policy.covers([name]):
                continue
            columns = set(table.column_names)
            chosen, by = (columns.intersection(it or columns) for it in (policy.columns, policy.by))
            rules[name] = TableRule(
                operations=frozenset(_operation(word, policy) for word in policy.operations),
                output=frozenset(chosen),
                filters=frozenset(by),
                groups=frozenset(by),
                aggregates_only="read" not in policy.operations,
                rows_max=ROWS_READ_MAX if "read" in policy.operations else UNLIMITED,
                floor=policy.floor,
            )
        return Scope(
            tables=rules,
            objects={name: frozenset(methods) for name, methods in policy.objects.items()},
        )

    def _check_names(self, policy: TenantPolicy) -> None:
        """A name that no table has is a typing mistake, not something to be left out."""
        tables = self.tables
        if unknown := sorted(set(policy.tables) - tables.keys()):
            raise EstateError(
                f"the policy of {policy.name!r} names the table {unknown[0]!r}; the estate has"
                f" {', '.join(tables)}"
            )
        covered = {name: table for name, table in tables.items() if policy.covers([name])}
        columns = {column for table in covered.values() for column in table.column_names}
        if unknown := sorted({*policy.columns, *policy.by} - columns):
            (name, *others), table = covered, next(iter(covered.values()))
            where = f"the table {name!r} has" if not others else f"{len(covered)} tables have"
            shown = table.column_names if not others else sorted(columns)
            raise EstateError(
                f"the policy of {policy.name!r} names the column {unknown[0]!r}; {where}"
                f" {', '.join(shown)}"
            )


def _tables_of_kinds(layout: Layout, roster: Roster) -> Mapping[str, Mapping[str, Table]]:
    found: dict[str, Mapping[str, Table]] = {}
    for member in roster.members:
        file = layout.archive(member.name) / "manifest.toml"
        if member.kind not in found and file.is_file():
            manifest = read_manifest(file.read_text("utf-8"))
            found[member.kind] = {table.name: table for table in manifest.tables}
    if not found:
        raise EstateError(f"{layout.root} has no archives. Were they moved? See docs/estate.md")
    if missing := sorted({member.kind for member in roster.members} - found.keys()):
        raise EstateError(
            f"{layout.root} has no archive of the kind {missing[0]!r}, so nobody here knows its"
            " tables. Keep one of each kind; see docs/estate.md"
        )
    return found


def _write(token: bytes, path: Path) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(token_to_text(token), "ascii")
    draft.replace(path)


def _operation(word: str, policy: TenantPolicy) -> Operation:
    try:
        return Operation[word.upper()]
    except KeyError:
        words = ", ".join(operation.name.lower() for operation in Operation)
        raise EstateError(
            f"the policy of {policy.name!r} names the operation {word!r}; there are {words}"
        ) from None
