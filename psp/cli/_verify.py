"""`psp verify`: a proof file, a receipt, or a whole ledger, checked with nothing but keys."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from psp.console import neutral
from psp.errors import EstateError, LedgerError
from psp.ledger import (
    Cosignature,
    Ledger,
    Proven,
    VerifierKey,
    check_ledger,
    decode_proof_file_untrusted,
    decode_verifier_key_untrusted,
    open_published,
    verify_proof_file_untrusted,
)
from psp.totebox import READS_DIRECTORY, Read, decode_read_untrusted

from ._common import err, out, print_json
from ._ledger import entry_facts, located, read_file, reads_key, shown

_ENTRIES_AT_A_TIME: Final = 1_024


def verify(
    path: Path,
    /,
    *,
    key: str | None = None,
    witness: Annotated[list[str] | None, Parameter(negative=())] = None,
    quorum: int | None = None,
    entry: Path | None = None,
    estate: Path | None = None,
    json: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Check a page, a proof, a receipt, or a whole ledger. Leaves with 0 if all is right, else 1.

    Parameters
    ----------
    path
        The file, or the directory of a ledger or of an archive; of an archive both its ledgers.
    key
        The ledger's public key, NAME+ID+BASE64, from somebody you believe. An archive names its
        own, and is then held against its own word only.
    witness
        The public key of a witness who must have cosigned a proof; may be given again.
    quorum
        How many of the witnesses are enough; by default all.
    entry
        A file with the entry, if the proof does not hold it.
    estate
        Of a page: an estate that you trust, whose members' keys it must have.
    json
        Print one JSON object.
    """
    if path.suffix == ".html":
        # A page has the answers of many, and combining them again is the aggregator's.
        from ._page import verify_page

        verify_page(path, read_file(path), estate, json_wanted=json)
        return
    if path.is_dir():
        if witness or quorum is not None or entry:
            raise EstateError(
                f"{path} is a directory, and --witness, --quorum and --entry are for proof files."
                " Leave them out, or name a proof file."
            )
        _verify_directory(path, key, json=json)
        return
    if key is None:
        raise EstateError(
            f"a proof alone shows nothing, and no key was given for {path}. Give the ledger's"
            " public key (--key NAME+ID+BASE64), from somebody you believe."
        )
    data = read_file(path)
    proven = verify_proof_file_untrusted(
        data,
        key=_meant(decode_verifier_key_untrusted(key), data),
        witnesses=[decode_verifier_key_untrusted(line) for line in witness or ()],
        quorum=quorum,
        entry=None if entry is None else read_file(entry),
    )
    _say_proven(proven, json=json)


def _meant(key: VerifierKey, proof: bytes) -> VerifierKey:
    """Take an archive's ledger key for that of its record of reads, if a proof is from there.

    The key is the same; only the name differs, and the name is checked with the signature.
    """
    of_reads = reads_key(key)
    origin = decode_proof_file_untrusted(proof).note.partition(b"\n")[0]
    return of_reads if origin == of_reads.name.encode() else key


def _say_proven(proven: Proven, *, json: bool) -> None:
    read = _read_of(proven)
    if json:
        print_json(_proven_facts(proven, read))
        return
    checkpoint = proven.checkpoint
    out().print(
        f"verified: entry {proven.index} of {checkpoint.tree_size} in the ledger"
        f" {neutral(checkpoint.origin)}",
        soft_wrap=True,
    )
    for seen in proven.cosignatures:
        out().print(f"seen by {neutral(seen.witness.name)} at {_when(seen)}", soft_wrap=True)
    if read is not None:
        out().print(
            f"receipt of a read at {read.time.isoformat()}: {read.rows} rows, {read.groups} groups,"
            f" {read.size_bytes} bytes, from the ledger at tree size {read.tree_size}",
            soft_wrap=True,
        )
    out().print(shown(proven.entry), soft_wrap=True)


def _read_of(proven: Proven) -> Read | None:
    """Give the read that an entry tells of; None if it tells of something else."""
    try:
        return decode_read_untrusted(proven.entry)
    except LedgerError:
        return None


def _verify_directory(directory: Path, key: str | None, *, json: bool) -> None:
    place, public = located(directory, key)
    keys = {place: public}
    if (reads := directory / READS_DIRECTORY).is_dir():
        keys[reads] = reads_key(public)
    # An archive's ledger has a journal, or has lost it.
    is_ours = place != directory
    found = {path: _faults(path, one, is_ours=is_ours) for path, one in keys.items()}
    if json:
        ledgers = [
            {"directory": str(path), "ledger": one.name, "entries": found[path][0]}
            | {"wrong": found[path][1]}
            for path, one in keys.items()
        ]
        print_json({"ledgers": ledgers})
    else:
        for path, one in keys.items():
            entries, wrong = found[path]
            for line in wrong:
                out().print(neutral(f"{path}/{line}"), soft_wrap=True)
            said = f"NOT VERIFIED, {len(wrong)} wrong" if wrong else "verified"
            out().print(
                f"{said}: {entries} entries of the ledger {neutral(one.name)}", soft_wrap=True
            )
    if any(wrong for _, wrong in found.values()):
        sys.exit(1)


def _faults(place: Path, key: VerifierKey, *, is_ours: bool) -> tuple[int, list[str]]:
    """Read a whole ledger; say how many entries were checked, and what is wrong."""
    if is_ours or (place / "journal").exists():
        report = check_ledger(place, origin=key.name, public_key=key.public_key)
        return report.entries, [f"{one.file}: {one.what}. {one.remedy}" for one in report.findings]
    # Said aloud, because a ledger of PSP that lost its journal looks the same.
    err().print(f"{place} has no journal: read as another program's, by its tiles alone")
    try:
        with open_published(place, ledger=key) as ledger:
            return _read_all(ledger), []
    except LedgerError as exc:
        return 0, [f"checkpoint: {exc}"]


def _read_all(ledger: Ledger) -> int:
    """Read every entry, each of which is checked up to the signed root."""
    size = ledger.checkpoint.tree_size
    for start in range(0, size, _ENTRIES_AT_A_TIME):
        ledger.entries(start, min(size, start + _ENTRIES_AT_A_TIME))
    return size


def _proven_facts(proven: Proven, read: Read | None) -> dict[str, object]:
    return {
        "ledger": proven.checkpoint.origin,
        "index": proven.index,
        "entries": proven.checkpoint.tree_size,
        "root": proven.checkpoint.root_hash.hex(),
        "witnesses": [
            {"name": seen.witness.name, "time": seen.time_s} for seen in proven.cosignatures
        ],
        "receipt": read is not None,
        **entry_facts(proven.entry),
    }


def _when(seen: Cosignature) -> str:
    try:
        return datetime.fromtimestamp(seen.time_s, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # A year beyond 9999 can be signed, not said.
        return f"{seen.time_s} s after 1970"
