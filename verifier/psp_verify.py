"""Check a whole ledger, or one entry by its proof file, without the software that wrote it.

Leaves with 0 if all is well, 1 if not, 2 if asked wrongly. Needs Python 3.11 and `cryptography`.
From RFC 6962, C2SP signed-note, tlog-checkpoint, -cosignature, -tiles, -proof, and docs/ledger.md.
"""

import argparse
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from struct import unpack_from
from zlib import crc32

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Key = tuple[str, bytes, int, bytes]  # Name, id, kind (1 a ledger's, 4 a witness's), public key.


def need(fact: bool, otherwise: str) -> None:
    if not fact:
        raise ValueError(otherwise)


def base64(text: str) -> bytes:
    data = b64decode(text, validate=True)
    need(b64encode(data).decode() == text, f"{text[:60]!r} is not the one base64 of its bytes")
    return data


def number(text: str) -> int:
    value = int(text[:20])
    need(0 <= value < 2**63 and str(value) == text, f"{text[:60]!r} is no number from 0 to 2^63")
    return value


def key_of(line: str) -> Key:
    name, _, rest = line.partition("+")
    data = base64(rest.partition("+")[2])
    key_id = sha256(name.encode() + b"\n" + data).digest()[:4]
    need(len(data) == 33 and data[0] in (1, 4) and rest[:8] == key_id.hex(), f"{line!r} is no key")
    return name, key_id, data[0], data[1:]


def root_of(row: list[bytes]) -> bytes:
    while len(row) > 1:  # Hash in pairs; one without a partner goes up as it is.
        pairs = [sha256(b"\1" + row[i] + row[i + 1]).digest() for i in range(0, len(row) - 1, 2)]
        row = pairs + row[len(pairs) * 2 :]
    return row[0] if row else sha256().digest()


def root_by(path: list[bytes], index: int, size: int, entry: bytes) -> bytes:
    need(bool(path) == (size > 1), "the proof has too many hashes, or too few")
    if not path:
        return sha256(b"\0" + entry).digest()  # 00 before an entry, 01 before two hashes.
    left = 1 << (size - 1).bit_length() - 1  # How many entries are on the left of the root.
    if index < left:
        return sha256(b"\1" + root_by(path[:-1], index, left, entry) + path[-1]).digest()
    return sha256(b"\1" + path[-1] + root_by(path[:-1], index - left, size - left, entry)).digest()


def check_note(note: bytes, key: Key, *witnesses: Key) -> tuple[int, bytes, dict[bytes, int]]:
    """Return the size and root that a checkpoint signs, and by public key when who signed it."""
    text, divider, below = note.decode().rpartition("\n\n")
    need(len(note) <= 131_072 and divider != "" and below[-1:] == "\n", "a checkpoint is cut off")
    need(all(c >= " " or c == "\n" for c in text + below), "control characters in a checkpoint")
    found: list[tuple[str, bytes, bytes]] = []
    for line in below[:-1].split("\n"):
        name, _, encoded = line[2:].partition(" ")
        data = base64(encoded)
        shaped = line[:2] == "— " and name != "" and len(data) > 4 and len(line.encode()) <= 8192
        need(shaped and len(found) < 100, f"not a signature line, or too many: {line[:60]!r}")
        found.append((name, data[:4], data[4:]))
    times: dict[bytes, int] = {}  # By key: who is listed under two names is still one witness.
    for name, key_id, kind, public in (key, *witnesses):
        for data in [data for *who, data in found if who == [name, key_id]]:
            time, above = 0, ""
            if kind == 4:  # A witness signs a time too, in the 8 bytes before the signature.
                time, data = int.from_bytes(data[:8], "big"), data[8:]
                above = f"cosignature/v1\ntime {time}\n"
            need(len(data) == 64 and time < 2**63, f"the signature by {name} is none")
            Ed25519PublicKey.from_public_bytes(public).verify(data, f"{above}{text}\n".encode())
            times[public] = max(time, times.get(public, 0))
    origin, size, root, *others = text.split("\n")
    need(key[3] in times and key[2] == 1, f"the checkpoint is not signed by {key[0]}")
    need(origin == key[0] and all(others) and len(base64(root)) == 32, "not its checkpoint")
    return number(size), base64(root), times


def check_proof(data: bytes, key: Key, *witnesses: Key, entry: bytes | None = None) -> str:
    head, _, note = data.partition(b"\n\n")
    title, *lines = head.decode("ascii").split("\n")
    need(title == "c2sp.org/tlog-proof@v1", "this is not a proof file")
    if lines and lines[0].startswith("extra "):
        given, entry = entry, base64(lines.pop(0)[6:])
        need(len(entry) < 65_536 and given in (None, entry), "the proof is of another entry")
    need(bool(lines) and lines[0].startswith("index "), "the proof file names no index")
    index, path = number(lines[0][6:]), [base64(line) for line in lines[1:]]
    need(len(path) < 64 and all(len(step) == 32 for step in path), "no hashes of 32 bytes")
    need(all(w[2] == 4 and w[3] != key[3] for w in witnesses), "a --witness that is no witness")
    size, root, times = check_note(note, key, *witnesses)
    need(all(w[3] in times for w in witnesses), "a witness has not cosigned the checkpoint")
    need(entry is not None, "the file does not hold the entry; give it with --entry")
    need(index < size and root_by(path, index, size, entry or b"") == root, "it is not in there")
    seen = "".join(f" {w[0]} saw it {times[w[3]]} s after 1970." for w in witnesses)
    return f"Entry {index} of {size} is in the ledger of {key[0]}.{seen}"


def entries_of(data: bytes, count: int) -> tuple[list[bytes], bytes]:
    found, at = [], 0
    for _ in range(count):  # Each entry stands behind its length, in 16 bits.
        start, at = at + 2, at + 2 + int.from_bytes(data[at : at + 2], "big")
        need(at <= len(data), "entries are cut off")
        found.append(data[start:at])
    return found, data[at:]


def tile(directory: Path, level: str, index: int, width: int) -> tuple[bytes, int]:
    *steps, last = (step.zfill(3) for step in f"{index:,}".split(","))
    full = directory.joinpath("tile", level, *(f"x{step}" for step in steps), last)
    partial = full.with_name(f"{last}.p") / str(width)
    whole = width == 256 or (full.exists() and not partial.exists())  # It grew.
    return (full.read_bytes(), 256) if whole else (partial.read_bytes(), width)


def journal_of(data: bytes) -> tuple[int, list[bytes], bytes | None]:
    """Return how many entries came before, the journal's own, and the last checkpoint in it."""
    stamps, bodies = data[511::512], [data[i : i + 511] for i in range(0, len(data), 512)]
    need(len(data) == 1_048_576 and set(stamps) <= {0, 0xF1, 0xF2}, "the journal is damaged")
    blank = [bodies[0][33:], *(b for b, s in zip(bodies, stamps, strict=True) if not s)]
    base, checksum = unpack_from(">QL", data, 21)
    need(data[:21] == b"psp ledger journal 1\n" and stamps[0] == 0xF1, "this is not a journal")
    need(not b"".join(blank).strip(b"\0") and crc32(data[:29]) == checksum, "stray bytes")
    entries, note, at = list[bytes](), None, 1
    while at < len(stamps) and stamps[at] == 0xF1:
        sector, first, count, length, checksum, head = unpack_from(">QQLLLL", bodies[at])
        end = at - (-(32 + length) // 511)
        placed = (sector, first) == (at, base + len(entries)) and end <= len(stamps)
        need(placed and crc32(bodies[at][:28]) == head, "a batch in the journal is damaged")
        if 0 in stamps[at:end]:  # Torn by a crash: it was never acknowledged.
            break
        body = b"".join(bodies[at:end])[32:]
        well = crc32(body[:length]) == checksum and not body[length:].strip(b"\0")
        need(well and 0xF1 not in stamps[at + 1 : end], "a batch in the journal is damaged")
        batch, note = entries_of(body[:length], count)
        entries, at = entries + batch, end
    need(0xF1 not in stamps[at + 1 :], "a batch is missing in the journal")
    return base, entries, note


def check_ledger(path: Path, key: Key, older: bytes | None = None, *, tiles: bool = False) -> str:
    base, pending, note = (0, [], None) if tiles else journal_of((path / "journal").read_bytes())
    size, root, _ = check_note((path / "checkpoint").read_bytes(), key)
    need(
        tiles or size in (base, base + len(pending)),
        "journal and checkpoint are of different times",
    )
    leaves = list[bytes]()
    for at in range(0, size, 256):
        entries, rest = entries_of(*tile(path, "entries", at // 256, min(256, size - at)))
        need(not rest, f"bytes after the last entry of bundle {at // 256}")
        leaves += [sha256(b"\0" + entry).digest() for entry in entries[: size - at]]
    row, level = leaves, 0
    while row:
        for at in range(0, len(row), 256):
            expected = b"".join(row[at : at + 256])
            data, width = tile(path, str(level), at // 256, len(expected) // 32)
            need(len(data) == width * 32 and data.startswith(expected), f"a wrong tile/{level}/")
        row, level = [root_of(row[i : i + 256]) for i in range(0, len(row) - 255, 256)], level + 1
    need(root_of(leaves) == root, "the signed root is of other entries")
    if note is not None and base == size:  # Else the journal was carried into the tiles already.
        leaves += [sha256(b"\0" + entry).digest() for entry in pending]
        size, root, _ = check_note(note, key)
        need((size, root) == (len(leaves), root_of(leaves)), "the journal is not what was signed")
    if older is not None:
        then, old_root, _ = check_note(older, key)
        need(then <= size and root_of(leaves[:then]) == old_root, "the past was rewritten")
    return f"All {size} entries of {key[0]} are as they were signed."


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path, help="a proof file, or the directory of a ledger")
    parser.add_argument("--key", required=True, help="the ledger's public key: NAME+ID+BASE64")
    parser.add_argument("--witness", action="append", default=[], help="who must have cosigned")
    parser.add_argument("--entry", type=Path, help="the entry, if the proof does not hold it")
    parser.add_argument("--older", type=Path, help="a checkpoint that you kept from before")
    parser.add_argument("--tiles-only", action="store_true", help="for ledgers without a journal")
    told = parser.parse_args()
    try:
        entry, older = (file and file.read_bytes() for file in (told.entry, told.older))
        key, *witnesses = map(key_of, (told.key, *told.witness))
        if told.path.is_dir():
            print(check_ledger(told.path, key, older, tiles=told.tiles_only))
        else:
            print(check_proof(told.path.read_bytes(), key, *witnesses, entry=entry))
    except (ValueError, OSError, InvalidSignature) as fault:
        sys.exit(f"NOT VERIFIED: {str(fault) or 'a signature does not fit'}")
