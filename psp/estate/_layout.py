"""Where everything of an estate lies, and the one file that names it all.

    NAME/
      estate.toml             members and tenants; no secret in it
      keys/root.key           signs the archives' anchor statements
      keys/anchor.key         signs link 0 of every grant
      keys/operator.key       the operator's console; narrows grants for tenants
      members/<member>.pem    the certificate that each archive must show
      tenants/<tenant>/       machine.key, policy.toml, grants/<member>.token
      archives/<member>/      the archives themselves; each can be moved to a machine of its own

A beginner's estate keeps root, anchor, operator and tenants on one machine and says so. Nothing in
the protocol needs that; docs/estate.md says what can move today.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from psp.aggregator import Roster
from psp.errors import EstateError

from ._policy import TenantPolicy
from ._servers import Served


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one estate."""

    root: Path

    @property
    def file(self) -> Path:
        return self.root / "estate.toml"

    @property
    def root_key(self) -> Path:
        return self.root / "keys" / "root.key"

    @property
    def anchor_key(self) -> Path:
        return self.root / "keys" / "anchor.key"

    @property
    def operator_key(self) -> Path:
        return self.root / "keys" / "operator.key"

    def certificate(self, member: str) -> Path:
        return self.root / "members" / f"{member}.pem"

    def archive(self, member: str) -> Path:
        return self.root / "archives" / member

    def tenant(self, tenant: str) -> Path:
        return self.root / "tenants" / tenant

    def machine_key(self, tenant: str) -> Path:
        return self.tenant(tenant) / "machine.key"

    def policy(self, tenant: str) -> Path:
        return self.tenant(tenant) / "policy.toml"

    def token(self, tenant: str, member: str) -> Path:
        return self.tenant(tenant) / "grants" / f"{member}.token"

    def make_directories(self, tenants: Sequence[str]) -> None:
        for name in ("keys", "members", "archives"):
            (self.root / name).mkdir(parents=True)
        for tenant in tenants:
            (self.tenant(tenant) / "grants").mkdir(parents=True)

    def write_estate(
        self, name: str, members: Sequence[Mapping[str, str]], tenants: Sequence[TenantPolicy]
    ) -> None:
        """Write `estate.toml` and each tenant's policy."""
        document: dict[str, Any] = {
            "name": name,
            "tenants": {
                tenant.name: {
                    "sentence": tenant.sentence,
                    "key": f"tenants/{tenant.name}/machine.key",
                    "grants": f"tenants/{tenant.name}/grants",
                }
                for tenant in tenants
            },
            "members": [dict(member) for member in members],
        }
        self.file.write_text(tomli_w.dumps(document), "utf-8")
        for tenant in tenants:
            self.policy(tenant.name).write_text(tomli_w.dumps(tenant.to_document()), "utf-8")

    def policies(self, names: Sequence[str]) -> tuple[TenantPolicy, ...]:
        """Read the tenants' policies back.

        Raises:
            EstateError: One is missing or not a policy.
        """
        return tuple(self._policy_of(name) for name in names)

    def _policy_of(self, name: str) -> TenantPolicy:
        file = self.policy(name)
        try:
            return TenantPolicy.from_document(name, tomllib.loads(file.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, KeyError, TypeError) as exc:
            raise EstateError(
                f"tenant {name!r} has no readable policy in {file}: {exc}. Restore it, or make the"
                " tenant anew"
            ) from exc


def served(roster: Roster, layout: Layout, only: Sequence[str] = ()) -> list[Served]:
    """Name what is to be served on this machine: every member, or the ones asked for.

    Raises:
        EstateError: A name that the estate does not have.
    """
    known = {member.name: member for member in roster.members}
    if unknown := [name for name in only if name not in known]:
        raise EstateError(
            f"estate {roster.name!r} has no member {unknown[0]!r}; it has {len(known)}, from"
            f" {min(known)!r} to {max(known)!r}"
        )
    return [
        Served(
            name=name,
            archive_id=known[name].address.archive_id,
            directory=layout.archive(name),
            host=known[name].address.host,
            port=known[name].address.port,
        )
        for name in (only or known)
    ]
