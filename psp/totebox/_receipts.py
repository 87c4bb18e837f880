"""What is on record of a read, and the proof of it that its reader takes along.

Pure: an auditor needs this file, a public key and the name of the ledger, and no archive.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple, NoReturn

from psp.errors import LedgerError
from psp.ledger import (
    Checkpoint,
    hash_leaf,
    verify_checkpoint_untrusted,
    verify_inclusion,
)
from psp.values import Value, pack_ordered

from ._entries import encode_time
from ._limits import READ_ENTRY_BYTES_MAX, RESULT_BYTES_MAX

READ: Final = "read"

_HASH_BYTES: Final = 32


class Read(NamedTuple):
    """One read that was served, as its entry tells it. It holds no value of any row.

    Attributes:
        grant_id: Of the last link of the grant: who read.
        command: `hash_commands` of what was done on the grant: what was asked.
        tree_size: With `root_hash`, the ledger state of the data that was read.
        rows: Records that left: 0 for figures, whatever they were computed from.
        groups: Cells of figures that left.
        size_bytes: Of the result, packed.
        result: `hash_result` of the result; None if it is longer than one RETURN.
    """

    grant_id: bytes
    command: bytes
    tree_size: int
    root_hash: bytes
    rows: int
    groups: int
    size_bytes: int
    time: datetime
    result: bytes | None

    def encode(self) -> bytes:
        # What `encode_entry` makes of these facts, in a fifth of its time: this is the one entry
        # that every answer waits for. Nothing in it needs a JSON encoder to quote it.
        result = "" if self.result is None else f'"result":"{self.result.hex()}",'
        return (
            f'{{"bytes":{self.size_bytes},"command":"{self.command.hex()}",'
            f'"grant":"{self.grant_id.hex()}","groups":{self.groups},"kind":"{READ}",{result}'
            f'"root":"{self.root_hash.hex()}","rows":{self.rows},'
            f'"time":"{encode_time(self.time)}","tree_size":{self.tree_size}}}'
        ).encode()


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt that was verified.

    Attributes:
        index: The place of the read in the record.
        checkpoint: What the archive's key has signed; keep it to show later that the record grew.
    """

    index: int
    read: Read
    checkpoint: Checkpoint


def pack_result(result: Value) -> bytes:
    """Give the one form of a result that is hashed: msgpack as on the wire, maps in key order."""
    return pack_ordered(result)


def hash_result(result: Value) -> bytes | None:
    """Name a result by 32 bytes, as its entry does; None where it is longer than one RETURN.

    Args:
        result: As it came, without the field `read` of an answer, which tells the entry's place.
    """
    packed = pack_result(result)
    return hashlib.sha256(packed).digest() if len(packed) <= RESULT_BYTES_MAX else None


def decode_read_untrusted(entry: bytes) -> Read:
    """Read an entry back.

    Raises:
        LedgerError: It is not the entry of a read, in the one form that it has. Nothing else is
            raised.
    """
    if len(entry) > READ_ENTRY_BYTES_MAX:
        _refuse(f"it has {len(entry):,} bytes, and at most {READ_ENTRY_BYTES_MAX:,} are read")
    try:
        document = json.loads(entry)
        read = Read(
            grant_id=bytes.fromhex(document["grant"]),
            command=bytes.fromhex(document["command"]),
            tree_size=document["tree_size"],
            root_hash=bytes.fromhex(document["root"]),
            rows=document["rows"],
            groups=document["groups"],
            size_bytes=document["bytes"],
            time=datetime.fromisoformat(document["time"]),
            result=bytes.fromhex(document["result"]) if "result" in document else None,
        )
        # One form for one read: so no field is read that stands there twice, or is not known here.
        if _is_plausible(read) and read.encode() == entry:
            return read
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        pass
    _refuse("its fields are not those of a read")


def verify_receipt_untrusted(receipt: object, *, public_key: bytes, origin: str) -> Receipt:
    """Return what a receipt proves: that this read is in the record that a checkpoint commits to.

    Args:
        receipt: A mapping with `index`, `tree_size`, `hashes`, `checkpoint` and `entry`, as the
            method `receipt` of a grant gives it.
        public_key: The ledger key of the archive, 32 bytes, from the owner's anchor statement.
        origin: The name of the record: `psp-archive/<archive id>/reads`.

    Raises:
        LedgerError: It proves nothing; `CheckpointRejected` and `InclusionProofInvalid` say which
            part does not hold. Nothing else is raised.
    """
    match receipt:
        case {
            "index": int(index),
            "tree_size": int(tree_size),
            "hashes": list() | tuple() as hashes,
            "checkpoint": bytes(note),
            "entry": bytes(entry),
        } if type(index) is type(tree_size) is int and all(
            type(one) is bytes and len(one) == _HASH_BYTES for one in hashes
        ):
            pass
        case _:
            _refuse("it is not index, tree size, hashes, checkpoint and entry")
    checkpoint = verify_checkpoint_untrusted(note, origin=origin, public_key=public_key)
    if checkpoint.tree_size != tree_size:
        _refuse(f"it speaks of {tree_size} entries, and its checkpoint of {checkpoint.tree_size}")
    verify_inclusion(hash_leaf(entry), index, hashes, checkpoint)
    return Receipt(index, decode_read_untrusted(entry), checkpoint)


def _is_plausible(read: Read) -> bool:
    result = bytes(_HASH_BYTES) if read.result is None else read.result
    hashes = (read.grant_id, read.command, read.root_hash, result)
    counts = (read.tree_size, read.rows, read.groups, read.size_bytes)
    return all(len(one) == _HASH_BYTES for one in hashes) and all(
        type(one) is int and one >= 0 for one in counts
    )


def _refuse(what: str) -> NoReturn:
    raise LedgerError(
        f"the receipt of a read proves nothing: {what}. Ask the archive for it again, and keep"
        " this one if it is refused twice."
    )
