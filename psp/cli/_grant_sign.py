"""`psp grant issue` and `narrow`: what a person signs, with keys of this machine, offline."""

from __future__ import annotations

import re
import secrets
import time
import tomllib
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeAlias

from cyclopts import Parameter

from psp.capability import (
    UNLIMITED,
    Layer,
    Operation,
    Scope,
    TableRule,
    decode_chain_untrusted,
    effective_scope,
    issue,
    narrow,
    scope_sentence,
    token_to_text,
)
from psp.console import neutral
from psp.errors import CapabilityError, EstateError
from psp.plan import rows_from_sql, scope_from_document
from psp.totebox import AtRest, read_at_rest, seen_at_rest
from psp.transport import MachineKey, PeerCertificate, check_certificate_untrusted

from ._common import err, print_json
from ._grant import TokenFile, read_token
from ._passphrase import Passphrases

_Names: TypeAlias = Annotated["list[str] | None", Parameter(consume_multiple=True, negative=())]

_Most: TypeAlias = Annotated[int, Parameter(show_default=False)]

_LENGTH: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DEFAULT_S: Final = 15 * 60
"""Short, as the design of a console's links has it: what is lost is over before it is noticed."""

_SENTENCE_CHARACTERS_MAX: Final = 2_000


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a narrower grant keeps; what is not said stays as it is.

    Parameters
    ----------
    table
        Only this table.
    rows
        Only these rows, as after `where`: "price <= 500000 and zipcode = 98004".
    operations
        Only these operations.
    output
        Only these columns in answers.
    filters
        Only these columns to filter on.
    groups
        Only these columns to group by.
    aggregates_only
        No single record.
    floor
        The least number of subjects behind anything that is shown.
    rounding
        Numbers are rounded to a multiple of 5, 10, 100 or 1000.
    rows_max
        The most records for each call.
    groups_max
        The most groups in an answer.
    bytes_max
        The most bytes of an answer.
    uses_total
        The most questions in all, as long as the new grant lasts.
    rows_total
        The most records in all.
    bytes_total
        The most bytes of answers in all.
    """

    table: str | None = None
    rows: str = ""
    operations: _Names = None
    output: _Names = None
    filters: _Names = None
    groups: _Names = None
    aggregates_only: Annotated[bool, Parameter(negative=())] = False
    floor: int = 1
    rounding: int = 1
    rows_max: _Most = UNLIMITED
    groups_max: _Most = UNLIMITED
    bytes_max: _Most = UNLIMITED
    uses_total: _Most = UNLIMITED
    rows_total: _Most = UNLIMITED
    bytes_total: _Most = UNLIMITED


# What a smaller number narrows; of the others a larger one does.
_MOST: Final = (
    *("rows_max", "groups_max", "bytes_max"),
    *("uses_total", "rows_total", "bytes_total"),
)


def narrow_grant(
    token: TokenFile,
    /,
    *,
    key: Path,
    to: Path,
    through: Path | None = None,
    changes: Changes | None = None,
    until: str = "",
    depth: int = 0,
    passphrase_fd: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Sign a narrower grant from one that you hold. No archive is asked, and none has to agree.

    What is not said stays as it is. The text of the new grant goes to standard output.

    Parameters
    ----------
    token
        A file with the text of your grant; - reads standard input.
    key
        Your key: the one that holds the grant.
    to
        The certificate of the machine that will hold the new one.
    through
        The certificate of the machine that will present it, if that is another: then each call
        must be signed.
    until
        The end: 90s, 15m, 2h, 1d from now, or 2026-11-22T10:00Z. By default 15 minutes from now,
        or the end of your own grant.
    depth
        How many further links may follow.
    passphrase_fd
        Read the key's passphrase from this file descriptor instead of asking.
    json
        Print one JSON object.
    """
    data = read_token(token)
    links = decode_chain_untrusted(data).links
    layers = [Layer(str(at), link.scope) for at, link in enumerate(links)]
    now_s, ends_s = int(time.time()), min(link.not_after_s for link in links)
    made = narrow(
        data,
        MachineKey.load(key, Passphrases(passphrase_fd)),
        holder=read_certificate(to).public_bytes,
        presenter=read_certificate(through or to).spki_hash,
        scope=_changed(effective_scope(layers), changes or Changes()),
        not_before_s=max(now_s, *(link.not_before_s for link in links)),
        not_after_s=_end(until, now_s) if until else min(ends_s, now_s + _DEFAULT_S),
        depth=depth,
        nonce=secrets.token_bytes(16),
    )
    _give(made, json=json)


def issue_grant(
    scope: Path,
    /,
    *,
    archive: Path,
    key: Path,
    to: str,
    through: str | None = None,
    until: str = "",
    depth: int = 0,
    passphrase_fd: int | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Sign the first link of a grant with an anchor key of an archive.

    The text of the grant goes to standard output.

    Parameters
    ----------
    scope
        What it allows, in TOML: [tables.NAME] and [objects] (docs/capabilities.md, "Recipes").
    archive
        The directory of the archive; it is only read.
    key
        An anchor key of the archive.
    to
        The machine that will hold the grant: its name where it is paired, or its certificate.
    through
        The machine that will present it, if that is another: then each call must be signed.
    until
        The end: 90s, 15m, 2h, 7d from now, or 2026-11-22T10:00Z. By default 15 minutes from now.
    depth
        How many further links may follow.
    passphrase_fd
        Read the key's passphrase from this file descriptor instead of asking.
    json
        Print one JSON object.
    """
    box, signer = read_at_rest(archive), MachineKey.load(key, Passphrases(passphrase_fd))
    if signer.public_bytes not in box.anchor.anchor_keys:
        raise CapabilityError(
            f"{key.name} is no anchor key of {box.manifest.name!r}, so the archive would refuse"
            " what it signs. Use the anchor key that its owner named."
        )
    box.check_scope(wanted := scope_from_document(_toml(scope)))
    now_s = int(time.time())
    made = issue(
        signer,
        archive_id=box.manifest.archive_id,
        epoch=box.epoch,
        holder=_machine(to, box).public_bytes,
        presenter=_machine(through or to, box).spki_hash,
        scope=wanted,
        not_before_s=now_s,
        not_after_s=_end(until, now_s) if until else now_s + _DEFAULT_S,
        depth=depth,
        nonce=secrets.token_bytes(16),
        seen=seen_at_rest(archive, box.manifest.archive_id),
    )
    _give(made, json=json)


def _changed(scope: Scope, changes: Changes) -> Scope:
    """Apply changes to every table that stays. What would widen is left for `narrow` to refuse."""
    table = changes.table
    if table is not None and table not in scope.tables:
        raise CapabilityError(
            f"the grant has no table {table!r}; it has {', '.join(scope.tables) or 'none'}."
        )
    kept = {name: it for name, it in scope.tables.items() if table in (None, name)}
    return Scope({name: _rule(it, changes) for name, it in kept.items()}, scope.objects)


def _rule(rule: TableRule, changes: Changes) -> TableRule:
    fields: dict[str, Any] = {
        name: frozenset(columns)
        for name in ("output", "filters", "groups")
        if (columns := getattr(changes, name)) is not None
    }
    if changes.operations is not None:
        fields["operations"] = frozenset(map(_operation, changes.operations))
    rows = dict(rule.rows)
    for column, domain in (rows_from_sql(changes.rows) if changes.rows else {}).items():
        rows[column] = rows[column].meet(domain) if column in rows else domain
    fields |= {name: min(getattr(rule, name), getattr(changes, name)) for name in _MOST}
    try:
        return replace(
            rule,
            **fields,
            rows=rows,
            aggregates_only=rule.aggregates_only or changes.aggregates_only,
            floor=max(rule.floor, changes.floor),
            rounding=max(rule.rounding, changes.rounding),
        )
    except ValueError as exc:  # A number that no rule has.
        raise CapabilityError(f"this cannot be granted: {exc}.") from None


def _operation(word: str) -> Operation:
    try:
        return Operation(word)
    except ValueError:
        words = ", ".join(operation.value for operation in Operation)
        raise CapabilityError(f"there is no operation {word!r}; there are {words}.") from None


def _end(text: str, now_s: int) -> int:
    if (length := _LENGTH.fullmatch(text)) is not None:
        return now_s + int(length[1]) * _SECONDS[length[2]]
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise EstateError(
            f"--until {text!r} is no time; write 15m, 2h, 1d, or 2026-11-22T10:00Z"
        ) from None
    return int((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp())


def _machine(named: str, box: AtRest) -> PeerCertificate:
    for pairing in box.pairings:
        if pairing.pin.name == named:
            return pairing.pin.certificate
    if not Path(named).exists():
        names = ", ".join(each.pin.name for each in box.pairings) or "none"
        raise EstateError(
            f"{named!r} is neither a machine that is paired with {box.manifest.name!r}, of which"
            f" there are {names}, nor the file of a certificate. Name one of them."
        )
    return read_certificate(Path(named))


def read_certificate(file: Path) -> PeerCertificate:
    """Read a machine's certificate from its file.

    Raises:
        EstateError: There is none, or it does not pass the checks of pairing.
    """
    try:
        text = file.read_text("ascii")
    except (OSError, UnicodeDecodeError) as exc:
        raise EstateError(
            f"{file} is no certificate that can be read ({exc}). A machine's own is the PEM that it"
            " is paired by."
        ) from exc
    try:
        return check_certificate_untrusted(text)
    except EstateError as exc:
        raise EstateError(f"{file}: {exc}") from exc  # A command takes several.


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise EstateError(f"{file} cannot be read as TOML ({exc}). Correct it.") from exc


def _give(token: bytes, *, json: bool) -> None:
    chain = decode_chain_untrusted(token)
    layers = [Layer(str(at), link.scope) for at, link in enumerate(chain.links)]
    sentence = scope_sentence(effective_scope(layers))
    ends = datetime.fromtimestamp(chain.leaf.not_after_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if json:
        print_json(
            {
                "token": token_to_text(token),
                "grant": chain.ids()[-1].hex(),
                "allows": sentence,
                "until": ends,
            }
        )
        return
    err().print(neutral(f"signed: {sentence} Until {ends}.", _SENTENCE_CHARACTERS_MAX))
    print(token_to_text(token), end="")
