"""The roster: whom an aggregator may ask, where they are, and with whose key.

One TOML file, `estate.toml`. An aggregator reads it, a tenant's machine key and that tenant's
tokens; nothing in it is a key of an archive, and nothing is ever written back.
"""

from __future__ import annotations

import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from psp.capability import decode_chain_untrusted, token_from_text_untrusted
from psp.endpoint import Address
from psp.errors import CapabilityError, EstateError
from psp.transport import Pin, check_certificate_untrusted

from ._exact import exact_from_text, is_currency


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One archive of an estate, as its aggregators know it.

    Attributes:
        name: What people call it; unique in the estate.
        label: A longer name for tables and pages.
        address: Where it listens and which certificate it must show.
        kind: What sort of archive it is, such as `books`; the operator's word.
        is_aggregator: It is no archive: it asks a fleet of its own.
        labels: What else it can be chosen by, such as `region`: `north`.
        share: The part of it that the tenant's organisation owns: above 0, at most 1.
        currency: What its money is in, an ISO 4217 code; empty if nobody has said.
        fiscal_start: The month in which its fiscal year starts, 1 to 12.
        reads_key: The key that signs its record of reads, NAME+ID+BASE64; empty if nobody has said.
    """

    name: str
    label: str
    address: Address
    kind: str = ""
    is_aggregator: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    share: Decimal = Decimal(1)
    currency: str = ""
    fiscal_start: int = 1
    reads_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """Where a person asks, with short grants made on the spot (docs/fleet.md, "A console").

    Attributes:
        operator_file: The key to which the archives' owner has given the links.
        links: A directory with one token per member, `<member>.token`, each of depth 1 or more.
        through: The aggregator that carries the calls; None: straight to each archive.
        presenter: SHA-256 of the SPKI of the key that this aggregator shows the archives.
    """

    operator_file: Path
    links: Path
    through: Address | None = None
    presenter: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenant:
    """One asker over the estate, with grants of its own.

    Attributes:
        key_file: The machine key that every connection of this tenant presents.
        grants: A directory with one token per member, `<member>.token`, in text form. It is read
            again for each connection, because the operator's console renews the tokens.
        consoles: The machines that may ask a serving aggregator in this tenant's name.
        is_interactive: Nothing is asked from here: a serving aggregator carries for this tenant
            what a console has signed, and has no grant.
        seat: What makes the grants, if this is the console; then `grants` holds none.
    """

    name: str
    sentence: str
    key_file: Path
    grants: Path
    consoles: tuple[Pin, ...] = ()
    is_interactive: bool = False
    seat: Seat | None = None

    def token_for(self, member: str) -> bytes:
        """Read the newest token for one member.

        Raises:
            EstateError: There is none, its text is damaged, or its time is over.
        """
        if self.is_interactive:
            raise EstateError(
                f"tenant {self.name!r} is interactive: a console signs each of its calls, and no"
                " grant is here. Ask at the console: docs/fleet.md"
            )
        return self.read_token(self.grants / f"{member}.token", member, time.time())

    def read_token(self, file: Path, member: str, now_s: float) -> bytes:
        """Read a token of this tenant for one member from its file.

        Raises:
            EstateError: There is none, its text is damaged, or its time is over.
        """
        try:
            token = token_from_text_untrusted(file.read_text("utf-8"))
            ended_s = min(link.not_after_s for link in decode_chain_untrusted(token).links)
        except (OSError, UnicodeDecodeError, CapabilityError) as exc:
            raise EstateError(
                f"tenant {self.name!r} has no usable grant for {member!r} in {file}: {exc}."
                " Renew it where the operator's key is: psp up"
            ) from exc
        # The archive alone judges, and says no more than `denied`. Here it can be said in words.
        if ended_s <= now_s:
            ended = datetime.fromtimestamp(ended_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
            raise EstateError(
                f"the grant of tenant {self.name!r} for {member!r} expired at {ended}."
                " `psp up` renews grants while it runs: start it where the operator's key is"
            )
        return token


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster:
    """The members and tenants of one estate."""

    name: str
    file: Path
    members: tuple[Member, ...]
    tenants: Mapping[str, Tenant] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path) -> Roster:
        """Read an `estate.toml`, or the directory that holds one.

        Raises:
            EstateError: No such file, not TOML, or a field is missing or wrong; the message names
                the field.
        """
        file = Path(path)
        file = file / "estate.toml" if file.is_dir() else file
        try:
            data = tomllib.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise EstateError(
                f"there is no estate at {file}. Make one with: psp estate new NAME --from FILES"
            ) from None
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
            raise EstateError(f"{file} cannot be read as an estate: {exc}") from exc
        try:
            return cls(
                name=str(data["name"]),
                file=file,
                members=tuple(_member(entry, file.parent) for entry in data["members"]),
                tenants={
                    name: _tenant(name, entry, file.parent)
                    for name, entry in data["tenants"].items()
                },
            )
        except KeyError as exc:
            raise EstateError(f"{file} has no field {exc}; see docs/estate.md") from exc
        except (TypeError, AttributeError, ValueError) as exc:
            raise EstateError(f"{file} is not an estate: {exc}; see docs/estate.md") from exc

    def tenant(self, name: str | None = None) -> Tenant:
        """The named tenant, or the first one of the file.

        Raises:
            EstateError: No such tenant; the message lists those there are.
        """
        if name is None and self.tenants:
            return next(iter(self.tenants.values()))
        try:
            return self.tenants[name or ""]
        except KeyError:
            raise EstateError(
                f"estate {self.name!r} has no tenant {name!r}; it has {sorted(self.tenants)}"
            ) from None


def _member(entry: Mapping[str, Any], root: Path) -> Member:
    certificate = (root / entry["certificate"]).read_text("ascii")
    return Member(
        name=entry["name"],
        label=entry.get("label", entry["name"]),
        address=Address.from_text_untrusted(
            entry["address"], certificate_pem=certificate, name=entry["name"]
        ),
        kind=str(entry.get("kind", "")),
        is_aggregator=_is_aggregator(entry.get("role", "archive"), entry["name"]),
        labels={key: str(value) for key, value in entry.get("labels", {}).items()},
        share=_share(entry.get("share", "1"), entry["name"]),
        currency=_currency(entry.get("currency", ""), entry["name"]),
        reads_key=str(entry.get("reads_key", "")),
        fiscal_start=_month(entry.get("fiscal_start", 1), entry["name"]),
    )


def _console(file: Path) -> Pin:
    return Pin(file.stem, check_certificate_untrusted(file.read_text("ascii")))


def _is_aggregator(role: object, name: str) -> bool:
    if role not in ("archive", "aggregator"):
        raise ValueError(f"member {name!r} has a role that is neither archive nor aggregator")
    return role == "aggregator"


def _share(value: object, name: str) -> Decimal:
    # As text: a share of 0.4 in TOML is a float, and no float is four tenths.
    share = exact_from_text(value)
    if share is None or not 0 < share <= 1:
        raise ValueError(f'member {name!r} has a share that is no text from "0" to "1": "0.4"')
    return share


def _currency(value: object, name: str) -> str:
    text = str(value)
    if text and not is_currency(text):
        raise ValueError(f"member {name!r} has the currency {text[:10]!r}; write it as in EUR")
    return text


def _month(value: object, name: str) -> int:
    if type(value) is not int or not 1 <= value <= 12:
        raise ValueError(f"member {name!r} has a fiscal_start that is no month from 1 to 12")
    return value


def _tenant(name: str, entry: Mapping[str, Any], root: Path) -> Tenant:
    is_interactive = _is_interactive(entry.get("profile", "autonomous"), name)
    seat = _seat(name, entry, root) if "links" in entry else None
    has_grants = not (is_interactive or seat)
    return Tenant(
        name=name,
        sentence=entry.get("sentence", ""),
        key_file=root / entry["key"],
        grants=root / (entry["grants"] if has_grants else ""),
        consoles=tuple(_console(root / file) for file in entry.get("consoles", ())),
        is_interactive=is_interactive,
        seat=seat,
    )


def _is_interactive(profile: object, name: str) -> bool:
    if profile not in ("autonomous", "interactive"):
        raise ValueError(
            f"tenant {name!r} has a profile that is neither of autonomous, interactive"
        )
    return profile == "interactive"


def _seat(name: str, entry: Mapping[str, Any], root: Path) -> Seat:
    own = {"operator_file": root / entry["operator"], "links": root / entry["links"]}
    if (through := entry.get("through")) is None:
        return Seat(**own)
    certificate = (root / through["certificate"]).read_text("ascii")
    presenter = check_certificate_untrusted((root / through["presenter"]).read_text("ascii"))
    return Seat(
        **own,
        through=Address.from_text_untrusted(
            through["address"], certificate_pem=certificate, name=f"the aggregator of {name}"
        ),
        presenter=presenter.spki_hash,
    )
