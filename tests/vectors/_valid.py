"""Frames that a receiver must take."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

from psp.wire import Promised

from ._pack import ARCHIVE_ID, ARCHIVE_TIME, Part, body_of, repeat, valid

TOP = 2**63 - 1
DAY_MS = 86_400_000


def call(*arguments: object, **other: object) -> list[object]:
    """A CALL of `health` as question 1, with what is said otherwise."""
    places = {
        "question": 1,
        "target": 0,
        "method": "health",
        "arguments": list(arguments),
        "remaining_ms": 30_000,
        "accept_bytes": 1_048_576,
        "flags": 0,
        "invocation": None,
    } | other
    return [2, *places.values()]


def hexed(*parts: Part | bytes) -> list[Part]:
    return [part.hex() if isinstance(part, bytes) else part for part in parts]


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


FROM_CONTROLLER = [
    valid("The smallest HELLO: one version, nothing raised, no features.", [0, [1], {}, []]),
    valid(
        "A HELLO with several versions, a raised limit and features.",
        [0, [1, 7, TOP], {"exports": 20_000, "of_a_later_version": 1}, ["spans", "über"]],
    ),
    valid("A HELLO with 64 versions: the most.", [0, list(range(1, 65)), {}, []]),
    valid(
        "PRESENT with a token of no bytes: a frame all the same; the answer is `denied`.",
        [1, 1, b""],
        live=True,
    ),
    valid("PRESENT with bytes that are not text.", [1, 1, b"\x00\xff\xc1"], live=True),
    valid("The null call: no arguments, on the bootstrap object.", call(), live=True),
    valid("Question ids may leave gaps.", call(question=1_000_000), live=True),
    valid("The highest question id.", call(question=TOP), live=True),
    valid(
        "No time left, no byte wanted: legal, and answered.",
        call(remaining_ms=0, accept_bytes=0),
        live=True,
    ),
    valid(
        "The longest time and the largest credit.",
        call(remaining_ms=DAY_MS, accept_bytes=TOP),
        live=True,
    ),
    valid("Flag 1: no result wanted.", call(flags=1), live=True),
    valid("Flag 2: no pipelining.", call(flags=2), live=True),
    valid("Both flags.", call(flags=3), live=True),
    valid("A method of one character that is not ASCII.", call(method="ß"), live=True),
    valid("A method of 128 characters: the longest.", call(method="m" * 128), live=True),
    valid("An invocation of no bytes.", call(invocation=b""), live=True),
    valid(
        "An invocation of 4,096 bytes: the longest.",
        call(invocation=b"\x00" * 4096),
        hexed(body_of(call())[:-1], "c51000", repeat("00", 4096)),
        live=True,
    ),
    valid("On a reference.", call(target=TOP)),
    valid("On the answer of an earlier question, itself.", call(question=2, target=[1, []])),
    valid(
        "On a path of map keys and list indexes.",
        call(question=2, target=[1, ["rows", 0, "", TOP]]),
    ),
    valid(
        "A path that is too long is a frame; the answer is `limit`.",
        call(question=2, target=[1, [0] * 17]),
    ),
    valid(
        "Every plain value as an argument.",
        call(None, False, True, 0, -1, 1.5, "", "ä€𝄞", b"", [], {}),
        live=True,
    ),
    valid(
        "The integers at the edges of each width.",
        call(
            127,
            128,
            255,
            256,
            65535,
            65536,
            2**32 - 1,
            2**32,
            TOP,
            -32,
            -33,
            -128,
            -129,
            -32768,
            -32769,
            -(2**31),
            -(2**31) - 1,
            -(2**63),
        ),
        live=True,
    ),
    valid(
        "Floats: negative zero, the smallest, the largest.",
        call(-0.0, 5e-324, 1.7976931348623157e308),
        live=True,
    ),
    valid(
        "Decimals: scale 0, scale 2, negative, scale 38, 32 bytes.",
        call(
            Decimal(0),
            Decimal("1.20"),
            Decimal("-0.01"),
            Decimal("1E-38"),
            Decimal(2**255 - 1),
            Decimal(1 - 2**255),
        ),
        live=True,
    ),
    valid(
        "Dates: the first, the day before 1970, the last.",
        call(date(1, 1, 1), date(1969, 12, 31), date(9999, 12, 31)),
        live=True,
    ),
    valid(
        "Instants: the first, the epoch, the last.",
        call(
            datetime(1, 1, 1, tzinfo=UTC),
            datetime(1970, 1, 1, tzinfo=UTC),
            datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        ),
        live=True,
    ),
    valid(
        "Maps inside lists inside maps; a key of no characters.",
        call({"": [{"a": {"b": []}}]}),
        live=True,
    ),
    valid(
        "Text that is not in normal form C: a receiver does not check that.",
        call("A\u030a"),
        live=True,
    ),
    valid(
        "Containers nested 32 deep, the argument list among them: the deepest.",
        call(nested(31)),
        live=True,
    ),
    valid(
        "A map of 4,096 keys: the most.",
        call({f"{number:04}": None for number in range(4096)}),
        live=True,
    ),
    valid("A promised argument: a reference.", call(Promised(3))),
    valid(
        "A promised argument: the answer of an earlier question, itself.",
        call(Promised([1, []]), question=2),
    ),
    valid(
        "A promised argument inside a list inside a map, with a path.",
        call({"of": [Promised([1, ["rows", 0]])]}, question=2),
    ),
    valid(
        "Sixteen promised arguments: the most.",
        call(*[Promised([1, [index]]) for index in range(16)], question=2),
    ),
    valid(
        "One as an integer of 8 bytes: any width is accepted.",
        call(),
        hexed(b"\x99\x02\xcf" + (1).to_bytes(8, "big") + body_of(call())[3:]),
        live=True,
    ),
    valid(
        "The body's array and the method with 32-bit lengths: any width is accepted.",
        call(),
        "dd00000009020100db00000006" + b"health".hex() + "90cd7530ce0010000000c0",
        live=True,
    ),
    valid(
        "A signed width for a number that is not negative.",
        call(),
        hexed(b"\x99\xd0\x02\xd3" + (1).to_bytes(8, "big") + body_of(call())[3:]),
        live=True,
    ),
    valid(
        "A decimal with more sign bytes than needed, in the longer extension form.",
        call(Decimal("1.20")),
        hexed(body_of(call())[:-11], "91", "c705010200000078", body_of(call())[-10:]),
        live=True,
    ),
    valid("FINISH of one question.", [3, [1]]),
    valid(
        "FINISH of 4,096 questions: the most; the order does not matter.",
        [3, list(range(4096, 0, -1))],
    ),
    valid("RELEASE of two references.", [4, [2, 1]]),
    valid("CREDIT of one byte.", [5, 1, 1]),
    valid("CREDIT of more than anybody has.", [5, 1, TOP]),
    valid("PING.", [6, 1], live=True),
    valid("PING with the highest number.", [6, TOP], live=True),
    valid("ABORT without words.", [7, 1, ""]),
    valid("ABORT with a code that no table has: an abort all the same.", [7, 77, "tired"]),
    valid("ABORT with 1,000 characters: the longest.", [7, 3, "ü" * 1000]),
]

FROM_SUBJECT = [
    valid("The usual HELLO.", [16, 1, {}, [], ARCHIVE_ID, ARCHIVE_TIME]),
    valid(
        "A HELLO that raises a limit, with a name of a later version.",
        [16, 1, {"calls_in_flight": 100_000, "later": 1}, ["spans"], ARCHIVE_ID, ARCHIVE_TIME],
    ),
    valid("RETURN of null.", [17, 1, 0, None]),
    valid(
        "RETURN of a nested value with every extension.",
        [
            17,
            1,
            0,
            {
                "price": Decimal("1200.50"),
                "from": date(2026, 1, 2),
                "at": ARCHIVE_TIME,
                "rows": [[1, b"\x00"], []],
            },
        ],
    ),
    valid(
        "RETURN of a list that looks like an error: the status decides.", [17, 1, 0, [1, 0, "", ""]]
    ),
    valid("RETURN of a reference.", [17, 1, 1, 1]),
    valid("RETURN of an error without words.", [17, 1, 2, [1, 0, "", ""]]),
    valid(
        "RETURN of the last error of the table, with the longest texts.",
        [17, 1, 2, [13, 2, "c" * 64, "ü" * 1000]],
    ),
    valid("RETURN of a stream without a header.", [17, 1, 3, None]),
    valid("RETURN of a stream with a header.", [17, 1, 3, {"size": 10, "type": "text/csv"}]),
    valid("RETURN for the highest question id.", [17, TOP, 0, True]),
    valid(
        "RETURN of the largest body: 262,144 bytes.",
        [17, 1, 0, b"\x00" * 262_135],
        hexed("94110100c60003fff7", repeat("00", 262_135)),
    ),
    valid("CHUNK of one byte.", [0xC1, 1, b"\x00"]),
    valid("CHUNK whose bytes look like frames.", [0xC1, 1, b"\x00\x00\x00\x01\x90"]),
    valid(
        "CHUNK of the largest body.",
        [0xC1, 1, b"\xc1" * 262_135],
        hexed("c10000000000000001", repeat("c1", 262_135)),
    ),
    valid("GOAWAY before any question.", [18, 0]),
    valid("GOAWAY after question 7.", [18, 7]),
    valid("ABORT: closing.", [19, 3, "closing"]),
    valid("ABORT with a code that no table has: an abort all the same.", [19, TOP, ""]),
    valid("END of a whole stream.", [20, 1, None]),
    valid("END of a stream that was cut short.", [20, 1, [9, 2, "c-1", "out of time"]]),
    valid("PONG.", [21, 1]),
]

# A controller that has asked for `health` takes any of these for an answer.
VALID = [
    *FROM_CONTROLLER,
    *(
        {**each, "live": True} if each["frame"][0] == 17 and each["frame"][2] != 3 else each
        for each in FROM_SUBJECT
    ),
]
