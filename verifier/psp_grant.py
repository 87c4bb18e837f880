"""Check a grant without the software that issued it: Python 3.11, `cryptography`, no more.

Written from docs/capabilities.md alone. Not here: the pairing, and what an archive remembers.
"""

import unicodedata
from fractions import Fraction
from hashlib import sha256
from io import BytesIO
from itertools import pairwise
from struct import pack
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

P, D = 2**255 - 19, -121665 * pow(121666, -1, 2**255 - 19) % (2**255 - 19)
ORDER = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, section 5.1, as P and D.
Y8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
READ, ONE_RECORD = 1 << 11, 1 << 1 | 1 << 11 | 1 << 13
NUMBER, DATE, TEXT = 1, 2, 3  # And 4, boolean.
HEADS = {  # MessagePack: first byte -> type, bytes of the number, and what needs so many.
    first + i: (kind, 1 << i, least)
    for first, kind, leasts in (
        *((0xCC, "plus", (128, 256, 2**16, 2**32)), (0xC4, "bytes", (0, 256, 2**16))),
        *((0xD0, "minus", (-32, -128, -(2**15), -(2**31))), (0xDB, "array", (0, 16, 2**16))),
        (0xD9, "text", (32, 256, 2**16)),
    )
    for i, least in enumerate(leasts)
}


def need(fact: bool, otherwise: str) -> None:
    if not fact:
        raise ValueError(otherwise)


def unpack(file: BytesIO, depth: int = 0) -> Any:
    """Read one MessagePack value: only our types, and only in their shortest form."""
    first, kind, number = sized(file.read(1), bytes, 1)[0], "array", 0
    if first < 0x80 or first >= 0xE0:
        return first - 256 * (first >= 0xE0)
    if first in (0xC2, 0xC3):
        return first == 0xC3
    if 0x90 <= first < 0xC0:
        kind, number = ("array", first & 15) if first < 0xA0 else ("text", first & 31)
    else:
        need(first in HEADS, "a type that is not used here")
        kind, size, least = HEADS[first]
        number = int.from_bytes(sized(file.read(size), bytes, size), "big", signed=kind == "minus")
        need(number < least if kind == "minus" else number >= least, "not in its shortest form")
    if kind in ("plus", "minus"):
        return number
    if kind == "array":
        need(depth < 9, "nested too deep")
        return [unpack(file, depth + 1) for _ in range(number)]
    piece = sized(file.read(number), bytes, number)
    return piece.decode() if kind == "text" else piece


def whole(data: bytes) -> Any:
    value = unpack(file := BytesIO(data))
    need(file.read(1) == b"", "bytes after the end")
    return value


def sized(value: Any, kind: Any, size: int | None = None) -> Any:
    need(type(value) is kind and (size is None or len(value) == size), f"no {kind.__name__} {size}")
    return value


def integer(value: Any, low: int, high: int) -> int:
    need(type(value) is int and low <= value <= high, f"not an integer from {low} to {high}")
    return int(value)


def rising(values: list[Any]) -> list[Any]:
    need(all(a < b for a, b in pairwise(values)), "not in rising order")
    return values


def text(value: Any, size: int = 128, *, is_name: bool = True) -> str:
    need(type(value) is str and len(value.encode()) <= size, f"not a text of {size} bytes")
    need(unicodedata.is_normalized("NFC", value), "not in NFC")
    need(not is_name or (value != "" and value.isprintable()), "not a name")
    return str(value)


def check_prime_order(key: bytes) -> None:
    def add(left: tuple[int, int, int], right: tuple[int, int, int]) -> tuple[int, int, int]:
        (x1, y1, z1), (x2, y2, z2) = left, right  # "add-2008-bbjlp" of the EFD, a = -1.
        a, c, d = z1 * z2 % P, x1 * x2 % P, y1 * y2 % P
        f, g = (a * a - D * c * d) % P, (a * a + D * c * d) % P
        return a * f * ((x1 + y1) * (x2 + y2) - c - d) % P, a * g * (d + c) % P, f * g % P

    y = int.from_bytes(key, "little") & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    x = x if x * x % P == square else x * pow(2, (P - 1) // 4, P) % P
    need(x * x % P == square, "a key off the curve")
    total, double, scalar = (0, 1, 1), (x if x & 1 == key[31] >> 7 else P - x, y, 1), ORDER
    while scalar:
        total, double = add(total, double) if scalar & 1 else total, add(double, double)
        scalar >>= 1
    need(total[0] == 0 and total[1] == total[2], "a key that is not of prime order")


def value_of(wire: Any, kind: int) -> Any:
    if kind == TEXT:
        return text(wire, 256, is_name=False)
    if kind > TEXT:
        return sized(wire, bool)
    if kind == NUMBER and type(wire) is list:
        scale, digits = sized(wire, list, 2)
        need(integer(digits, -(2**63), 2**63 - 1) % 10 != 0, "a decimal with a zero at its end")
        return Fraction(digits, 10 ** integer(scale, 1, 38))
    return Fraction(integer(wire, *((-719162, 2932896) if kind == DATE else (-(2**63), 2**63 - 1))))


def check_domain(wire: Any) -> None:
    form = integer(sized(wire, list)[0] if wire else 0, 1, 3)
    _, kind, *rest = sized(wire, list, {1: 3, 2: 5, 3: 2}[form])
    if form == 3:
        need(text(kind, 256, is_name=False) != "", "an empty prefix")
        return
    parts = [sized(it, list) for it in (rest[:1] if form == 1 else rest[:2])]
    values = [value_of(it, integer(kind, 1, 6 - 2 * form)) for part in parts for it in part]
    need(1 <= len(rising(values)) <= 64, "not 1 to 64 values")
    if form == 2:
        has_low, has_high = (bool(integer(len(it), 0, 1)) for it in parts)
        ends = (has_low + 2 * has_high) * (kind == NUMBER)
        need(integer(rest[2], 0, 3) & ~ends == 0, "open where it has no end")


def name_of_rule(wire: Any) -> str:
    table, columns, operations, *lists, rows, flags = sized(wire, list, 16)[:8]
    names = rising([text(it) for it in sized(columns, list)])
    pairs = [sized(it, list, 2) for it in sized(rows, list)]
    places = [sized(it, list) for it in (*lists, [at for at, _ in pairs])]
    used = {at for it in places for at in rising([integer(at, 0, len(names) - 1) for at in it])}
    need(len(used) == len(names), "a column that is not used")
    for _, domain in pairs:
        check_domain(domain)
    numbers = [integer(it, 1, 2**53 - 1) for it in wire[8:]]
    hidden = ONE_RECORD * (integer(flags, 0, 3) & 1)
    need(integer(operations, 0, 2**14 - 1) & ~hidden != 0, "a rule that allows nothing")
    need(numbers[1] in (1, 5, 10, 100, 1000), "no such rounding")
    need(not operations & READ or numbers[2] < 2**53 - 1, "reads without a limit")
    return text(table)


def pae(*parts: bytes) -> bytes:
    return b"".join([pack("<Q", len(parts)), *(pack("<Q", len(it)) + it for it in parts)])


def check_body(body: Any, archive: bytes, epoch: int, longest: int, now: int) -> Any:
    need(type(body) is bytes and len(body) <= 1024, "not a body")
    link = sized(whole(body), list, 14)
    integer(link[0], 1, 1), integer(link[1], 1, 1)  # Version and kind.
    need(link[2] == archive, "another archive")
    need(integer(link[3], 0, 2**32 - 1) == epoch, "another epoch")
    for key in link[4:6]:
        y = int.from_bytes(sized(key, bytes, 32), "little") & (1 << 255) - 1
        need(y < P and y not in (0, 1, P - 1, Y8, P - Y8), "a weak key")
    start, end = (integer(it, 0, 2**53 - 1) for it in link[7:9])
    need(0 < end - start <= longest and start - 30 <= now < end, "not its time")
    sized(link[6], bytes, 32), integer(link[9], 0, 3), sized(link[10], bytes, 16)
    rules, objects = (sized(it, list) for it in sized(link[11], list, 2))
    rising([name_of_rule(it) for it in rules])
    rising([text(sized(it, list, 2)[0]) for it in objects])
    need(all(rising([text(name) for name in sized(it[1], list)]) for it in objects), "no methods")
    size, root = sized(link[12], list, 2)
    integer(size, 0, 2**53 - 1), sized(root, bytes, 32)
    need(sized(link[13], list) == [], "an extension that is not known")
    return link


def check(
    token: bytes, anchors: set[bytes], now: int, *, archive: bytes, epoch: int, presenter: bytes
) -> tuple[bytes, int, int]:
    """Give the grant id, from when and until when; ValueError if an archive would refuse."""
    need(len(token) <= 4377, "too long")
    signed = [sized(it, list, 2) for it in sized(whole(token), list)]
    days = [7, 1, 1, 1][: integer(len(signed), 1, 4)]
    links = [
        check_body(body, archive, epoch, day * 86400, now)
        for (body, _), day in zip(signed, days, strict=True)
    ]
    need(links[0][4] in anchors and links[-1][6] == presenter, "not the anchor or the presenter")
    for parent, child in pairwise(links):
        need(child[4] == parent[5] and child[9] < parent[9], "a link that does not follow")
    previous, grant_id = bytes(32), bytes(32)
    for link, (body, signature) in zip(links, signed, strict=True):
        message = pae(b"PSP1.grant-link", b"\1", previous, body)
        Ed25519PublicKey.from_public_bytes(link[4]).verify(sized(signature, bytes, 64), message)
        check_prime_order(link[5])
        previous = sha256(pae(b"PSP1.chain", previous, body, signature)).digest()
        grant_id = sha256(pae(b"PSP1.grant-id", grant_id, body)).digest()
    return grant_id, max(it[7] for it in links), min(it[8] for it in links)
