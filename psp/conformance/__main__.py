"""`python -m psp.conformance`: try a subject or a controller that somebody wrote."""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio

from psp.endpoint import Address
from psp.errors import EstateError, PSPError
from psp.transport import MachineKey, check_certificate_untrusted

from ._controller import WHAT_TO_DO, controller_scripts, run_controller
from ._doors import dials, dials_plain, host_and_port, listens, listens_plain
from ._limits import ANSWER_S_DEFAULT
from ._outcome import Outcome, is_conformant, summary, to_json_text
from ._subject import run_subject

ARCHIVE_ID_DEFAULT: Final = bytes(32)
_GIVEN: Final = {
    "method": "a method of the bootstrap object that takes nothing and gives a value",
    "object": "one that takes nothing and gives a reference",
    "stream": "one that takes nothing and gives a stream of more than 16 bytes",
    "slow": "one that takes nothing and far more time than --within",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code: 0 if nothing failed, 1 if something did, 2 if nothing
    could be tried."""
    options = _parser().parse_args(arguments)
    try:
        outcomes = trio.run(_RUNS[options.role], options)
    except PSPError as exc:
        sys.stderr.write(f"psp.conformance: {exc}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("psp.conformance: stopped\n")
        return 130
    sys.stdout.write((to_json_text(outcomes) if options.json else summary(outcomes)) + "\n")
    return 0 if is_conformant(outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m psp.conformance",
        description="Does it speak PSP/1? Exit code 1 if a case fails.",
    )
    roles = parser.add_subparsers(dest="role", required=True)
    subject = roles.add_parser("subject", help="try a subject: we dial it")
    subject.add_argument("address", help="psp://…, or HOST:PORT with --plain")
    subject.add_argument("--certificate", type=Path, help="the subject's certificate, PEM")
    for name, what in _GIVEN.items():
        subject.add_argument(f"--{name}", metavar="METHOD", help=what)
    controller = roles.add_parser("controller", help="try a controller: it dials us")
    controller.add_argument("--listen", required=True, metavar="HOST:PORT")
    controller.add_argument("--peer", type=Path, help="the controller's certificate, PEM")
    controller.add_argument(
        "--archive", help="the archive to speak for: its id, in hex or as in an address"
    )
    for role in (subject, controller):
        role.add_argument("--key", type=Path, help="our machine key, PEM")
        role.add_argument("--plain", action="store_true", help="plain TCP, no TLS: for bring-up")
        role.add_argument("--only", default="", metavar="NAME", help="one case, or one file's")
        role.add_argument("--within", type=float, default=ANSWER_S_DEFAULT, metavar="SECONDS")
        role.add_argument("--all", action="store_true", help="show the cases that passed, too")
        role.add_argument("--json", action="store_true", help="one object on one line")
    return parser


async def _subject(options: argparse.Namespace) -> list[Outcome]:
    given = {name: getattr(options, name) for name in _GIVEN if getattr(options, name)}
    if options.plain:
        dial = dials_plain(*host_and_port(options.address))
    else:
        _need(options, "key", "certificate")
        address = Address.from_text_untrusted(
            options.address,
            certificate_pem=_read(options.certificate),
            name="the subject under test",
        )
        dial = dials(address, MachineKey.load(options.key))
    return await run_subject(
        dial,
        given=given,
        chosen=lambda case: case.is_named(options.only),
        within_s=options.within,
        tell=_teller(options),
    )


async def _controller(options: argparse.Namespace) -> list[Outcome]:
    archive_id = _archive_id(options.archive)
    host, port = host_and_port(options.listen)
    if options.plain:
        door = listens_plain(host, port)
    else:
        _need(options, "key", "peer")
        key = MachineKey.load(options.key)
        peer = check_certificate_untrusted(_read(options.peer))
        door = listens(host, port, key=key, peer=peer, archive_id=archive_id)
    async with door as (accept, bound):
        where = f"{host}:{bound}"
        if not options.plain:
            where = Address(archive_id, host, bound, key.certificate_pem, "").to_text()
            sys.stderr.write(f"our certificate, for its pairing record:\n{key.certificate_pem}")
        cases = sum(1 for _ in controller_scripts())
        sys.stderr.write(f"listening at {where}\n{WHAT_TO_DO.format(cases=cases)}\n")
        return await run_controller(
            accept,
            archive_id=archive_id,
            chosen=lambda case: case.is_named(options.only),
            within_s=options.within,
            tell=_teller(options),
        )


_RUNS: Final = {"subject": _subject, "controller": _controller}


def _teller(options: argparse.Namespace) -> Callable[[Outcome], object]:
    def tell(outcome: Outcome) -> None:
        if not options.json and (options.all or outcome.verdict != "passed"):
            sys.stdout.write(outcome.to_line() + "\n")
            sys.stdout.flush()

    return tell


def _need(options: argparse.Namespace, *names: str) -> None:
    for name in names:
        if getattr(options, name) is None:
            raise EstateError(
                f"TLS needs --{name} FILE, and it was not given. Give it, or say --plain if the"
                " peer has no TLS yet."
            )


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError) as exc:
        raise EstateError(f"{path} cannot be read as a certificate in PEM ({exc}).") from exc


def _archive_id(text: str | None) -> bytes:
    if text is None:
        return ARCHIVE_ID_DEFAULT
    try:
        archive_id = bytes.fromhex(text)
    except ValueError:
        # base32, as the last part of an address has it.
        padded = text.upper() + "=" * (-len(text) % 8)
        try:
            archive_id = base64.b32decode(padded)
        except ValueError:
            archive_id = b""
    if len(archive_id) != 32:
        raise EstateError(
            f"--archive {text[:80]!r} is not an archive id. Write its 64 hex digits, or the last"
            " part of the archive's address."
        )
    return archive_id


if __name__ == "__main__":
    sys.exit(main())
