"""Making an estate: keys, archives, sealed files, pairings and grants. All of it, or nothing."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.capability import archive_id_of, sign_anchor
from psp.endpoint import Address
from psp.errors import EstateError
from psp.ledger import VerifierKey
from psp.totebox import Archive, Manifest, reads_origin
from psp.transport import MachineKey, Passphrase

from ._draft import Draft
from ._layout import Layout
from ._policy import OWNER, TenantPolicy
from ._ports import free_ports

HOST: Final = "127.0.0.1"
EPOCH_FIRST: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Owner:
    """The keys that are on this machine while an estate is made."""

    root: MachineKey
    anchor: MachineKey
    tenants: Mapping[str, MachineKey]


def build_estate(
    drafts: Sequence[Draft],
    *,
    tenants: Sequence[TenantPolicy] = (OWNER,),
    labels: Mapping[str, str] | None = None,
    on_member: Callable[[str], None] = lambda name: None,
    passphrase: Passphrase | None = None,
) -> int:
    """Make the directory of an estate and return how many rows were sealed.

    It is made under another name and renamed at the end, so that Ctrl-C, a full disk or a bad row
    leaves nothing behind.

    Raises:
        EstateError: The directory exists, archives of one kind have different tables, or the disk
            refused.
        IntakeRefused: A row of a file does not fit the schema; the message names file and line.
    """
    root = drafts[0].root
    _check_kinds(drafts)
    making = root.with_name(f".{root.name}.making")
    try:
        if making.exists():
            shutil.rmtree(making)  # Left by a process that was killed; never an estate.
        rows = _build(Layout(making), drafts, tenants, labels or {}, on_member, passphrase)
        making.rename(root)
    except OSError as exc:
        raise EstateError(
            f"the estate {root} was not made: {exc}. Nothing was left behind"
        ) from exc
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return rows


def _check_kinds(drafts: Sequence[Draft]) -> None:
    """Grants are made from the tables of one archive of a kind; the others would get no other."""
    has: dict[str, list[Draft]] = {}
    for draft in drafts:
        for name in draft.files:
            has.setdefault(name, []).append(draft)
    first: dict[str, str] = {}
    for name, its_drafts in has.items():
        like = first.setdefault(its_drafts[0].kind, name)
        if {draft.kind for draft in its_drafts} != {its_drafts[0].kind} or (
            [draft.table for draft in its_drafts] != [draft.table for draft in has[like]]
        ):
            raise EstateError(
                f"the archive {name!r} was drafted with another kind or other tables than"
                f" {like!r}; all archives of one kind have the same tables. Give it a kind of its"
                " own"
            )


def _build(
    layout: Layout,
    drafts: Sequence[Draft],
    tenants: Sequence[TenantPolicy],
    labels: Mapping[str, str],
    on_member: Callable[[str], None],
    passphrase: Passphrase | None,
) -> int:
    layout.make_directories([tenant.name for tenant in tenants])
    owner = _Owner(
        root=MachineKey.create(layout.root_key, passphrase),
        anchor=MachineKey.create(layout.anchor_key, passphrase),
        tenants={
            tenant.name: MachineKey.create(layout.machine_key(tenant.name)) for tenant in tenants
        },
    )
    MachineKey.create(layout.operator_key, passphrase)
    named: dict[str, list[Draft]] = {}
    for draft in drafts:
        for name in draft.files:
            named.setdefault(name, []).append(draft)
    ports = free_ports(HOST, len(named))
    members: list[dict[str, str]] = []
    rows = 0
    for (name, its_drafts), port in zip(named.items(), ports, strict=True):
        label, kind = labels.get(name, name), its_drafts[0].kind
        archive, address = _make_archive(layout, its_drafts, name, label, owner, port)
        with archive:
            rows += _fill(archive, name, its_drafts, tenants, owner)
        origin = reads_origin(archive.ledger.checkpoint.origin)
        members.append(
            {
                "name": name,
                "label": label,
                **({"kind": kind} if kind else {}),
                "address": address.to_text(),
                "reads_key": VerifierKey(origin, archive.anchor.ledger_key).encode(),
            }
        )
        on_member(name)
    layout.write_estate(drafts[0].root.name, [_entry(member) for member in members], tenants)
    return rows


def _fill(
    archive: Archive,
    name: str,
    drafts: Sequence[Draft],
    tenants: Sequence[TenantPolicy],
    owner: _Owner,
) -> int:
    """Pair the tenants that have something here, seal the files, and return how many rows."""
    for tenant in tenants:
        if tenant.covers(draft.table.name for draft in drafts):
            archive.pair(tenant.name, owner.tenants[tenant.name].certificate_pem, tenant.pairing)
    return sum(
        archive.ingest(
            draft.files[name],
            draft.table.name,
            operator="operator",
            now=datetime.now(UTC),
            null=draft.null,
            accept_partial=draft.accept_partial,
        ).rows
        for draft in drafts
    )


def _make_archive(
    layout: Layout, drafts: Sequence[Draft], name: str, label: str, owner: _Owner, port: int
) -> tuple[Archive, Address]:
    directory = layout.archive(name)
    # These two keys are the archive's own: their only files are in its directory.
    machine = MachineKey(Ed25519PrivateKey.generate())
    ledger = MachineKey(Ed25519PrivateKey.generate())
    nonce = secrets.token_bytes(16)
    statement = sign_anchor(
        owner.root,
        anchor_keys=[owner.anchor.public_bytes],
        ledger_key=ledger.public_bytes,
        epoch=EPOCH_FIRST,
        version=1,
        nonce=nonce,
    )
    archive_id = archive_id_of(owner.root.public_bytes, nonce)
    archive = Archive.create(
        directory,
        Manifest(
            name=name,
            title=label,
            archive_id=archive_id,
            module_id=drafts[0].root.name,
            tables=tuple(draft.table for draft in drafts),
            floor=1,
            engine=drafts[0].engine,
        ),
        machine_key=machine,
        ledger_key=ledger,
        anchor_statement=statement,
    )
    layout.certificate(name).write_text(machine.certificate_pem, "ascii")
    address = Address(
        archive_id=archive_id,
        host=HOST,
        port=port,
        certificate_pem=machine.certificate_pem,
        name=name,
    )
    return archive, address


def _entry(member: Mapping[str, str]) -> dict[str, str]:
    return {**member, "certificate": f"members/{member['name']}.pem"}
