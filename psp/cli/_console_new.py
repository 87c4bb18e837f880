"""`psp console new` and `renew`: what is carried from the owner's machine to a person's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from psp.console import neutral
from psp.endpoint import Address
from psp.errors import EstateError
from psp.estate import ConsoleDraft, Estate, Hub, create_console, renew_console

from ._common import agreed, err, find_estate, operator, out, print_json
from ._grant_sign import read_certificate
from ._passphrase import Passphrases


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """Through which aggregator, if through one.

    Parameters
    ----------
    through
        The aggregator that carries the calls: its address, as `psp aggregator serve` prints it.
        By default the archives are asked directly, and are paired with the machine.
    certificate
        With --through: the certificate that the aggregator must show.
    presenter
        With --through: the certificate of the tenant's machine key, by which archives know it.
    """

    through: str | None = None
    certificate: Path | None = None
    presenter: Path | None = None

    def hub(self) -> Hub | None:
        """Read the files.

        Raises:
            EstateError: One of the three is missing or wrong.
        """
        if self == DIRECT:
            return None
        if self.through is None or self.certificate is None or self.presenter is None:
            raise EstateError(
                "--through, --certificate and --presenter belong together, and one was not given."
                " Give all three for a console behind an aggregator, none for one that asks the"
                " archives"
            )
        pem, name = read_certificate(self.certificate).pem, self.certificate.stem
        return Hub(
            address=Address.from_text_untrusted(self.through, certificate_pem=pem, name=name),
            presenter=read_certificate(self.presenter),
        )


DIRECT: Final = Carried()


def new(
    directory: Path,
    /,
    *,
    operator_certificate: Annotated[Path, Parameter(name="--operator")],
    machine: Path,
    carried: Carried = DIRECT,
    estate: Path | None = None,
    tenant: str | None = None,
    passphrase_fd: int | None = None,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Make the directory of a console, to be carried to that machine: no key is in it.

    The person makes two keys there (psp key new), and brings their certificates (psp key
    certificate).

    Parameters
    ----------
    directory
        The directory to make; nothing may be there yet.
    operator_certificate
        The certificate of the person's operator key, which will hold the links.
    machine
        The certificate of the machine key of the console.
    estate
        The estate's directory.
    tenant
        In whose name the person asks; by default the estate's first tenant.
    passphrase_fd
        Read the passphrase of the keys that grant from this file descriptor instead of asking.
    yes
        Do not ask whether these are the right keys.
    json
        Print one JSON object.
    """
    hub = carried.hub()
    opened = Estate.open(find_estate(estate), Passphrases(passphrase_fd))
    draft = ConsoleDraft(
        directory=directory,
        tenant=opened.roster.tenant(tenant).name,
        operator=read_certificate(operator_certificate),
        machine=read_certificate(machine),
        hub=hub,
    )
    _approve(draft, yes=yes)
    unmet = create_console(opened, draft, by=operator())
    if json:
        print_json({"console": str(directory), "tenant": draft.tenant, "not_here": unmet})
        return
    _say(draft, machine.name, unmet)


def renew(
    directory: Path,
    /,
    *,
    estate: Path | None = None,
    passphrase_fd: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Put links for another day into a console's directory; carry its `links` over again.

    Parameters
    ----------
    directory
        What `psp console new` has made, kept here.
    estate
        The estate's directory.
    passphrase_fd
        Read the passphrase of the keys that grant from this file descriptor instead of asking.
    json
        Print one JSON object.
    """
    opened = Estate.open(find_estate(estate), Passphrases(passphrase_fd))
    members = renew_console(opened, directory)
    if json:
        print_json({"console": str(directory), "members": members})
    else:
        out().print(f"{len(members)} links for a day. Carry {directory}/links", soft_wrap=True)


def _approve(draft: ConsoleDraft, *, yes: bool) -> None:
    """Let a person compare the keys: whoever changed a file on its way would get the links."""
    if not yes:
        err().print(
            f"operator {draft.operator.fingerprint}\nmachine  {draft.machine.fingerprint}",
            soft_wrap=True,
        )
        if not agreed(f"Let them ask in the name of {draft.tenant!r}?"):
            raise EstateError("the keys were not approved, so nothing was made. Say y, or --yes")


def _say(draft: ConsoleDraft, machine: str, unmet: Sequence[str]) -> None:
    where, name = draft.directory, draft.directory.name
    lines = [
        f"{where}/ is made, with links for a day. Carry it to that machine, and put the two keys"
        " into it: operator.key and machine.key",
        f"There: psp ask --estate {name}",
        f"Tomorrow: psp console renew {where}, and carry {name}/links",
    ]
    if draft.hub is not None:
        place = f"[tenants.{neutral(draft.tenant)}]"
        lines += [
            f'At the aggregator, in {place}: profile = "interactive", consoles = ["{machine}"]'
        ]
    if unmet:
        lines += [f"Not here, so it may not know the machine: {', '.join(unmet)} (psp pair list)"]
    out().print("\n".join(lines), soft_wrap=True)
