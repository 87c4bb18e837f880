"""`psp ledger show`, `fsck`, `prove` and `witness`."""

from __future__ import annotations

import sys
import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

from cyclopts import App, Parameter

from psp.capability import verify_anchor_untrusted
from psp.console import neutral
from psp.errors import CheckpointRejected, EstateError, LedgerError, PSPError
from psp.ledger import (
    PROOF_FILE_BYTES_MAX,
    Ledger,
    ProofFile,
    VerifierKey,
    Witness,
    check_ledger,
    decode_verifier_key_untrusted,
    open_published,
    verify_checkpoint_untrusted,
    verify_proof_file_untrusted,
)
from psp.totebox import READS_DIRECTORY, ledger_origin, read_manifest, reads_origin
from psp.transport import MachineKey

from ._common import err, out, print_json

_FILE_BYTES_MAX: Final = PROOF_FILE_BYTES_MAX  # The longest of the files that are read here.
_MANIFEST: Final = "manifest.toml"

ledger = App(name="ledger", help="Look at ledgers, prove their entries, and witness them.")


@ledger.command
def show(
    directory: Path,
    /,
    *,
    key: str | None = None,
    last: int = 0,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Open a ledger, check it, and say what it commits to.

    Parameters
    ----------
    directory
        An archive, or a ledger alone.
    key
        The ledger's public key, NAME+ID+BASE64; an archive names its own.
    last
        How many of the newest entries to print.
    json
        Print one JSON object.
    """
    opened, public = _open(directory, key)
    checkpoint = opened.checkpoint
    size = checkpoint.tree_size
    entries = opened.entries(max(0, size - max(0, last)), size)
    facts = {
        "ledger": checkpoint.origin,
        "entries": size,
        "root": checkpoint.root_hash.hex(),
        "key": public.encode(),
    }
    if (directory / READS_DIRECTORY).is_dir():
        facts["reads key"] = reads_key(public).encode()
    if json:
        print_json({**facts, "last": [entry_facts(entry) for entry in entries]})
        return
    for name, value in facts.items():
        out().print(f"{name:<9} {value}", soft_wrap=True)
    for index, entry in enumerate(entries, size - len(entries)):
        out().print(f"{index:>8} {shown(entry)}", soft_wrap=True)


@ledger.command
def prove(
    directory: Path,
    index: int,
    /,
    *,
    key: str | None = None,
    under: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative=())] = None,
    without_entry: Annotated[bool, Parameter(negative=())] = False,
    file: Annotated[Path | None, Parameter(name="--out")] = None,
) -> None:
    """Write a proof that an entry is in a ledger, for somebody who has neither it nor PSP.

    Parameters
    ----------
    directory
        An archive, or a ledger alone.
    index
        Which entry, counted from 0.
    key
        The ledger's public key, NAME+ID+BASE64; an archive names its own.
    under
        Cosigned checkpoints of this ledger, as witnesses wrote them; all of one size.
    without_entry
        Leave the entry out: the proof then tells those who have it, and nobody else.
    file
        Where to write it; by default INDEX.tlog-proof here.
    """
    opened, public = _open(directory, key)
    note = _merged(under) if under else opened.note
    checkpoint = verify_checkpoint_untrusted(note, origin=public.name, public_key=public.public_key)
    size = checkpoint.tree_size
    hashes = opened.prove_inclusion(index, size)
    (entry,) = opened.entries(index, index + 1)
    proof = ProofFile(
        index=index, hashes=hashes, note=note, entry=None if without_entry else entry
    ).encode()
    # What we give out, we have checked as its reader will.
    verify_proof_file_untrusted(proof, key=public, entry=entry)
    path = file or Path(f"{index}.tlog-proof")
    write_file(path, proof)
    err().print(f"{path}: entry {index} of {size}. Check it with: psp verify {path} --key KEY")
    out().print(public.encode(), soft_wrap=True)


@ledger.command
def witness(
    *directories: Path,
    state: Path,
    key: Path,
    name: str,
    to: Annotated[Path, Parameter(name="--out")],
    of: Annotated[list[str] | None, Parameter(negative=())] = None,
    begin: Annotated[bool, Parameter(name="--new", negative=())] = False,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Cosign the checkpoints of ledgers that extend what was seen of them; refuse the others.

    Leaves with 0 if all were cosigned, else with 1; the others are cosigned all the same.

    Parameters
    ----------
    directories
        Archives, or ledgers alone; they are only read.
    state
        The witness's own directory: what it has seen.
    key
        The file of its private key.
    name
        Under which it signs, as in witness.example.com.
    to
        Where to write the cosigned checkpoints, a file for each ledger.
    of
        The public key of a ledger that stands alone; may be given again.
    begin
        Begin: make the state, and the key if its file is not there.
    json
        Print one JSON object.
    """
    signer = MachineKey.create(key) if begin and not key.exists() else MachineKey.load(key)
    keys = {public.name: public for public in map(decode_verifier_key_untrusted, of or ())}
    reports = []
    make = Witness.create if begin else Witness.open
    with make(state, name=name, key=signer) as watching:
        for directory in directories:
            try:
                reports.append(_cosign(watching, directory, keys, to))
            except PSPError as exc:
                # One ledger's fault is no reason to leave the others unwatched.
                reports.append({"directory": str(directory), "refused": str(exc)})
    if json:
        print_json({"key": watching.key.encode(), "ledgers": reports})
    else:
        out().print(f"{watching.key.encode()}", soft_wrap=True)
        for report in reports:
            said = report.get("refused") or f"cosigned {report['ledger']} in {report['file']}"
            out().print(f"{neutral(report['directory'])}: {neutral(said)}", soft_wrap=True)
    if refused := [report for report in reports if "refused" in report]:
        raise LedgerError(
            f"{len(refused)} of {len(reports)} ledgers were not cosigned; the first is"
            f" {refused[0]['directory']}. Read why above, before anybody relies on it."
        )


def _cosign(
    watching: Witness, directory: Path, keys: dict[str, VerifierKey], to: Path
) -> dict[str, str]:
    opened, public = _open(directory, keys)
    now, seen = opened.checkpoint, watching.seen(public.name)
    # A ledger that shrank has no proof to give; the witness says so better than we could.
    grew = seen is not None and seen.tree_size < now.tree_size
    proof = opened.prove_consistency(seen.tree_size, now.tree_size) if seen and grew else []
    line = watching.cosign_untrusted(opened.note, proof, ledger=public, time_s=int(time.time()))
    path = to / f"{quote(public.name, safe='')}.checkpoint"
    write_file(path, opened.note + line)
    return {"directory": str(directory), "ledger": public.name, "file": str(path)}


@ledger.command
def fsck(
    directory: Path,
    /,
    *,
    key: str | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Read every file of a ledger and name all that is wrong. Nothing is changed.

    Of an archive, its record of reads too. Ends with 1 if anything is wrong.

    Parameters
    ----------
    directory
        An archive, or a ledger alone.
    key
        The ledger's public key, NAME+ID+BASE64; an archive names its own.
    json
        Print one JSON object.
    """
    place, public = located(directory, key)
    keys = {place: public}
    if (reads := directory / READS_DIRECTORY).is_dir():
        keys[reads] = reads_key(public)
    reports = {
        str(path): check_ledger(path, origin=key.name, public_key=key.public_key)
        for path, key in keys.items()
    }
    if json:
        print_json({path: asdict(report) for path, report in reports.items()})
    else:
        for path, report in reports.items():
            for found in report.findings:
                line = f"{path}/{found.file}: {found.what}. {found.remedy}"
                out().print(neutral(line), soft_wrap=True)
            out().print(
                f"{path}: {report.entries} entries, {report.tiles} tiles, {report.bundles} bundles"
                f" read; {len(report.findings) or 'nothing'} wrong",
                soft_wrap=True,
            )
    if not all(report.is_clean for report in reports.values()):
        sys.exit(1)


def located(directory: Path, key: str | dict[str, VerifierKey] | None) -> tuple[Path, VerifierKey]:
    """Say where the ledger of an archive, or one that stands alone, is, and whose it must be."""
    is_archive = (directory / _MANIFEST).exists()
    place = directory / "ledger" if is_archive else directory
    if isinstance(key, str):
        return place, decode_verifier_key_untrusted(key)
    if is_archive:
        return place, _key_of_archive(directory)
    # Only to choose among the keys given: opening checks that this one signed.
    origin = read_file(place / "checkpoint").partition(b"\n")[0].decode("utf-8", "replace")
    if origin not in (key or {}):
        raise EstateError(
            f"{directory} is no archive, and no key was given for the ledger"
            f" {neutral(origin)[:80]!r}. Give its public key, NAME+ID+BASE64."
        )
    return place, (key or {})[origin]


def _open(directory: Path, key: str | dict[str, VerifierKey] | None) -> tuple[Ledger, VerifierKey]:
    """Open the ledger of an archive or one that stands alone, for reading."""
    place, public = located(directory, key)
    if (place / "journal").exists():
        return Ledger.open(place, origin=public.name, public_key=public.public_key), public
    # Said aloud, because a ledger of PSP that lost its journal looks the same.
    err().print(f"{place} has no journal: read as another program's, by its tiles alone")
    return open_published(place, ledger=public), public


def reads_key(public: VerifierKey) -> VerifierKey:
    """Name the key of an archive's record of reads: the same key, under a name of its own."""
    return VerifierKey(reads_origin(public.name), public.public_key)


def _key_of_archive(directory: Path) -> VerifierKey:
    """The key that the archive's owner vouches for; the archive's id commits to the owner."""
    manifest = read_file(directory / _MANIFEST).decode("utf-8", "replace")
    archive_id = read_manifest(manifest).archive_id
    statement = read_file(directory / "keys" / "anchor")
    anchor = verify_anchor_untrusted(statement, archive_id=archive_id)
    return VerifierKey(ledger_origin(archive_id), anchor.ledger_key)


def _merged(files: Sequence[Path]) -> bytes:
    """One note with all signature lines of several notes over one text."""
    first, *others = (read_file(file) for file in files)
    text, _, _ = first.partition(b"\n\n")
    lines = first.splitlines(keepends=True)
    for other in others:
        if other.partition(b"\n\n")[0] != text:
            raise CheckpointRejected(
                f"{', '.join(map(str, files))} are not of one checkpoint. Take files that witnesses"
                " wrote of the same size, or one of them."
            )
        lines += [line for line in other.splitlines(keepends=True) if line not in lines]
    return b"".join(lines)


def read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_FILE_BYTES_MAX + 1)  # One more, so that whoever reads it refuses.
    except OSError as exc:
        raise EstateError(f"{path} cannot be read ({exc.strerror}). Check the path.") from exc


def write_file(path: Path, data: bytes) -> None:
    draft = path.with_name(f".{path.name}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.rename(path)
    except OSError as exc:
        raise EstateError(f"{path} cannot be written ({exc.strerror}). Choose another.") from exc


def entry_facts(entry: bytes) -> dict[str, object]:
    """An entry as text if it is text, and always as its bytes."""
    try:
        text = entry.decode()
    except UnicodeDecodeError:
        text = None
    return {"entry": text, "base64": b64encode(entry).decode()}


def shown(entry: bytes) -> str:
    return neutral(entry.decode("utf-8", "backslashreplace"))
