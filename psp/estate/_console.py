"""A console's directory, made where the owner's keys are and carried to the person's machine.

It holds addresses, certificates, and links that only the operator's key can use; no key of anybody.
The person's keys are made where they stay, and their certificates are all that comes from there
(docs/fleet.md, "A console").
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

from psp.aggregator import Member, Roster
from psp.endpoint import Address
from psp.errors import EstateError
from psp.totebox import administer, read_pairings
from psp.transport import PeerCertificate, check_certificate_untrusted

from ._estate import Estate
from ._policy import TenantPolicy

_OPERATOR: Final = "operator.pem"
"""Kept, so that the links of the next day are made out to the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """The aggregator that carries what a console signs.

    Attributes:
        address: Where it is, and the certificate that it must show.
        presenter: What it shows the archives, which are paired with it.
    """

    address: Address
    presenter: PeerCertificate


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleDraft:
    """What `create_console` will make.

    Attributes:
        directory: Nothing may be there yet; its name is what archives call the machine.
        tenant: In whose name the person asks: the policy and the pairing are this tenant's.
        operator: Of the key that will hold the links.
        machine: Of the key that the console's connections will present.
        hub: None: straight to each archive, which is then paired with the machine.
    """

    directory: Path
    tenant: str
    operator: PeerCertificate
    machine: PeerCertificate
    hub: Hub | None = None


def create_console(estate: Estate, draft: ConsoleDraft, *, by: str) -> list[str]:
    """Make the directory, whole or not at all, with links for a day.

    Args:
        by: Who pairs, for the archives' ledgers.

    Returns:
        Members whose archives are elsewhere: whether they know the machine nobody here can say.

    Raises:
        EstateError: The directory exists, the tenant has nothing here, the aggregator's machine is
            not paired with an archive, or the disk refused.
        ArchiveError: An archive has the console's name or machine paired otherwise. Those before it
            are paired; to pair them again does nothing worse than a second entry.
    """
    if draft.directory.exists():
        raise EstateError(f"{draft.directory} exists already. Choose another name, or remove it")
    policy, members = _members(estate, draft.tenant)
    here = [it for it in members if (estate.layout.archive(it.name) / "keys/machine.key").exists()]
    making = draft.directory.with_name(f".{draft.directory.name}.making")
    met: list[str] = []
    try:
        shutil.rmtree(making, ignore_errors=True)  # Left by a process that was killed.
        _write_files(estate, draft, making)
        renew_console(estate, making)
        for member in here:
            _meet(estate.layout.archive(member.name), draft, policy, by)
            met.append(member.name)
        making.rename(draft.directory)
    except OSError as exc:
        raise EstateError(
            f"the console {draft.directory} was not made: {exc}. {_left(draft, met)}"
        ) from exc
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return [member.name for member in members if member not in here]


def _left(draft: ConsoleDraft, met: list[str]) -> str:
    """Say what a console that was not made has left: archives forget no machine by themselves."""
    if draft.hub is not None or not met:
        return "Nothing was left behind"
    return (
        f"Its machine is paired with {', '.join(met)} already. Make the console again, or end"
        f" each pairing with: psp pair remove ARCHIVE {draft.directory.name}"
    )


def renew_console(estate: Estate, directory: Path) -> list[str]:
    """Put links for a day into a console's directory, for its operator's key; name the members.

    Raises:
        EstateError: It is no console's, or the tenant has nothing here any more.
    """
    tenant, file = Roster.load(directory).tenant(), directory / _OPERATOR
    if tenant.seat is None or not file.is_file():
        raise EstateError(
            f"{directory} is no console's directory: it has no {_OPERATOR}, or a tenant without"
            " links. Make one with: psp console new"
        )
    policy, members = _members(estate, tenant.name)
    operator = check_certificate_untrusted(file.read_text("ascii"))
    for member in members:
        estate.grants.write_first(policy, member, tenant.seat.links, operator)
    return [member.name for member in members]


def _members(estate: Estate, tenant: str) -> tuple[TenantPolicy, list[Member]]:
    (policy,) = estate.layout.policies((estate.roster.tenant(tenant).name,))
    members = [
        member
        for member in estate.roster.members
        # An aggregator's archives are its own tenant's to grant.
        if not member.is_aggregator and policy.covers(estate.grants.of_kind[member.kind])
    ]
    if not members:
        raise EstateError(
            f"the tenant {tenant!r} may ask no archive of this estate, so a console has nothing to"
            f" ask. Correct {estate.layout.policy(tenant)}, or name another tenant"
        )
    return policy, members


def _write_files(estate: Estate, draft: ConsoleDraft, root: Path) -> None:
    policy, members = _members(estate, draft.tenant)
    names = {member.name for member in members}
    entries = tomllib.loads(estate.layout.file.read_text("utf-8"))["members"]
    own = {"key": "machine.key", "operator": "operator.key", "links": "links"}
    tenant: dict[str, Any] = {"sentence": policy.sentence, **own}
    (root / "members").mkdir(parents=True)
    (root / _OPERATOR).write_text(draft.operator.pem, "ascii")
    if draft.hub is not None:
        (root / "hub.pem").write_text(draft.hub.address.certificate_pem, "ascii")
        (root / "presenter.pem").write_text(draft.hub.presenter.pem, "ascii")
        files = {"certificate": "hub.pem", "presenter": "presenter.pem"}
        tenant["through"] = {"address": draft.hub.address.to_text(), **files}
    for member in members:
        file = root / "members" / f"{member.name}.pem"
        file.write_text(member.address.certificate_pem, "ascii")
    document = {
        "name": estate.roster.name,
        "tenants": {policy.name: tenant},
        "members": [
            {**entry, "certificate": f"members/{entry['name']}.pem"}
            for entry in entries
            if entry["name"] in names
        ],
    }
    (root / "estate.toml").write_text(tomli_w.dumps(document), "utf-8")


def _meet(archive: Path, draft: ConsoleDraft, policy: TenantPolicy, by: str) -> None:
    """Let an archive know the machine that will connect, or see that it does."""
    if draft.hub is None:
        name, pem = draft.directory.name, draft.machine.pem
        administer(archive, "pair", name, pem, policy.pairing, by, doing="pairing a console")
        return
    presenter = draft.hub.presenter
    if presenter.spki_hash not in {it.pin.certificate.spki_hash for it in read_pairings(archive)}:
        raise EstateError(
            f"the presenter {presenter.fingerprint} is not paired with the archive"
            f" {archive.name!r}, which would not let the aggregator in. Give the certificate of the"
            f" tenant's machine key, or pair it: docs/pairing.md"
        )
