"""`psp grant show`, `verify`, `narrow` and `issue`: the human side of a token."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from psp.capability import (
    Chain,
    Layer,
    decode_chain_untrusted,
    describe,
    effective_scope,
    explain,
    fingerprint,
    scope_sentence,
    spki_hash_of,
    token_from_text_untrusted,
    token_to_qr_text,
    verify_untrusted,
)
from psp.console import neutral
from psp.errors import EstateError, GrantRefused
from psp.totebox import AtRest, Pairing, read_at_rest

from ._common import out, print_json
from ._qr import show_qr, write_qr

STEPS: Final = (
    *("size", "decode", "archive", "critical", "chain", "presenter", "time", "epoch", "revoked"),
    *("signature", "key", "rollback", "seen", "scope"),
)
"""In the order of docs/capabilities.md, "Checks"."""

TokenFile: TypeAlias = Annotated[Path, Parameter(allow_leading_hyphen=True)]
"""A file with the text of a grant; `-` is standard input."""

_FILE_BYTES_MAX: Final = 256 * 1024
_LINE_CHARACTERS_MAX: Final = 2_000
_LABEL: Final = re.compile(r" *(?:[a-z]+(?: [a-z]+)? {2,})?")
"""What stands before a line's text: its indent, and a word or two set off by white space."""

_YEAR_9999_S: Final = 253402300799


def show(
    token: TokenFile,
    /,
    *,
    qr: Annotated[bool, Parameter(negative=())] = False,
    qr_file: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Say who a token lets do what, until when, through whom, and who narrowed it.

    Nothing is verified, and no signature is printed.

    Parameters
    ----------
    token
        A file with the text of a grant, wrapped and quoted as mails do; - reads standard input.
    qr
        Draw it as a QR code; up to two links fit.
    qr_file
        Write the QR code to a .png or .svg file.
    json
        Print one JSON object.
    """
    data = read_token(token)
    if qr_file is not None:
        write_qr(token_to_qr_text(data), qr_file)
    if qr:
        show_qr(token_to_qr_text(data))
    elif json:
        print_json(_facts(decode_chain_untrusted(data)))
    elif qr_file is None:
        for line in describe(data).splitlines():
            _print(line)


def verify(
    token: TokenFile,
    /,
    *,
    archive: Path,
    presenter: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Check a token as its archive would, and say which check failed: for its owner.

    Only files of the archive are read; nothing is counted, used up or put on record. Leaves with 0
    if the archive would accept it now, else with 1.

    Parameters
    ----------
    token
        A file with the text of a grant; - reads standard input.
    archive
        The directory of the archive.
    presenter
        The paired machine through which it comes; by default the one it names.
    json
        Print one JSON object.
    """
    data, box = read_token(token), read_at_rest(archive)
    report = _verified(data, box, presenter)
    if json:
        print_json(report)
    else:
        _tell(report)
    if not report["ok"]:
        sys.exit(1)


def read_token(file: Path) -> bytes:
    """Read a token out of a file, or of standard input.

    Raises:
        EstateError: The file cannot be read.
        CapabilityError: No whole token is there.
    """
    try:
        if file == Path("-"):
            text = sys.stdin.buffer.read(_FILE_BYTES_MAX + 1)
        else:
            with file.open("rb") as source:
                text = source.read(_FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise EstateError(f"{file} cannot be read ({exc.strerror}). Check the path.") from exc
    # A mail in another encoding has its token in ASCII all the same.
    return token_from_text_untrusted(text.decode("utf-8", "replace"))


def _verified(data: bytes, box: AtRest, named: str | None) -> dict[str, object]:
    try:
        chain = decode_chain_untrusted(data)
        pairing = _pairing_of(chain, box.pairings, named)
        verified = verify_untrusted(
            data,
            anchor=box.anchor,
            presenter=pairing.pin.certificate.spki_hash,
            ceiling=box.ceiling_of(pairing),
            now_s=int(time.time()),
            standing=box.standing,
        )
    except GrantRefused as exc:
        # Its sentence begins with the step, which the report has already.
        reason = str(exc).partition("'. ")[2] or str(exc)
        return {"ok": False, "step": exc.step, "reason": reason}
    layers = [
        Layer(f"pairing {pairing.ceiling}", box.ceiling_of(pairing)),
        *(Layer(f"link {at}", link.scope) for at, link in enumerate(chain.links)),
    ]
    return {
        "ok": True,
        "presenter": pairing.pin.name,
        "pairing": pairing.ceiling,
        "signed_calls": verified.is_interactive,
        "allows": scope_sentence(verified.scope),
        "until": _time(verified.not_after_s),
        "taken_away": [str(it) for it in explain(layers)],
    }


def _pairing_of(chain: Chain, pairings: Sequence[Pairing], named: str | None) -> Pairing:
    """Find the machine through which a token is to come."""
    presenter = chain.leaf.presenter
    for one in pairings:
        if one.pin.name == named or (named is None and one.pin.certificate.spki_hash == presenter):
            return one
    names = ", ".join(one.pin.name for one in pairings) or "no machine"
    if named is not None:
        raise EstateError(f"{named!r} is not paired with this archive; {names} is.")
    raise GrantRefused(
        "presenter",
        f"it is made out to {fingerprint(presenter)}, which is not paired; paired: {names}.",
    )


def _tell(report: dict[str, object]) -> None:
    if report["ok"]:
        profile = "each call signed" if report["signed_calls"] else "no call signed"
        _print(f"accepted: {', '.join(STEPS)}", style="green")
        _print(f"through    {report['presenter']}, paired as {report['pairing']}; {profile}")
        _print(f"allows     {report['allows']}")
        _print(f"until      {report['until']}")
        taken = report["taken_away"]
        for line in taken if isinstance(taken, list) else ():
            _print(f"taken away by {line}", indent=2)
        return
    step = str(report["step"])
    passed = STEPS[: STEPS.index(step)] if step in STEPS else ()
    _print(f"refused at the check {step}", style="bold red")
    _print(str(report["reason"]), indent=2)
    _print(f"passed before it: {', '.join(passed) or 'none'}", indent=2)


def _facts(chain: Chain) -> dict[str, object]:
    layers = [Layer(f"link {at}", link.scope) for at, link in enumerate(chain.links)]
    return {
        "verified": False,
        "archive": chain.leaf.archive_id.hex(),
        "epoch": chain.leaf.epoch,
        "grant": chain.ids()[-1].hex(),
        "allows": scope_sentence(effective_scope(layers)),
        "until": _time(min(link.not_after_s for link in chain.links)),
        "presenter": chain.leaf.presenter.hex(),
        "links": [
            {
                "grant": grant_id.hex(),
                "signed_by": spki_hash_of(link.issuer).hex(),
                "for": spki_hash_of(link.holder).hex(),
                "from": _time(link.not_before_s),
                "until": _time(link.not_after_s),
                "more_may_follow": link.depth,
                "allows": scope_sentence(link.scope),
            }
            for link, grant_id in zip(chain.links, chain.ids(), strict=True)
        ],
        "taken_away": [str(it) for it in explain(layers)],
    }


def _time(seconds: int) -> str:
    if seconds > _YEAR_9999_S:
        return f"second {seconds}"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _print(text: str, *, style: str = "", indent: int = 0) -> None:
    """Print one line; what does not fit goes on under its beginning, right of its label."""
    label, value = _parts(" " * indent + text)
    if not label:
        out().print(Text(neutral(value, _LINE_CHARACTERS_MAX) if value else "", style=style))
        return
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column()
    shown = Text(neutral(value, _LINE_CHARACTERS_MAX), style=style) if value else Text()
    grid.add_row(Text(label), shown)
    out().print(grid)


def _parts(line: str) -> tuple[str, str]:
    found = _LABEL.match(line)
    assert found is not None  # Everything in it is optional.
    return found[0], line[found.end() :]
