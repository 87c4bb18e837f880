"""Bodies that end the connection, and the rule that each breaks."""

from __future__ import annotations

from typing import Any

from psp.wire import Promised

from ._pack import ARCHIVE_ID, ARCHIVE_TIME, Part, body_of, ext, invalid, pack, repeat
from ._valid import call, hexed, nested

S, C = "subject", "controller"
HELLO = [16, 1, {}, [], ARCHIVE_ID, ARCHIVE_TIME]


def bad_argument(rule: str, words: str, *hexed_argument: Part) -> dict[str, Any]:
    """A null call with one argument, given as hex."""
    body = body_of(call())
    return invalid(S, rule, words, hexed(body[:-11], "91", *hexed_argument, body[-10:]))


def bad_payload(rule: str, words: str, *hexed_value: Part) -> dict[str, Any]:
    return invalid(C, rule, words, hexed("94110100", *hexed_value))


def bad_call(rule: str, words: str, *arguments: object, **places: object) -> dict[str, Any]:
    return invalid(S, rule, words, body_of(call(*arguments, **places)))


def bad_frame(receiver: str, rule: str, words: str, *frame: object) -> dict[str, Any]:
    return invalid(receiver, rule, words, pack(list(frame)))


ONE_BODY = [
    invalid(role, "one array", words, body)
    for role, good in ((S, pack([6, 1])), (C, pack([18, 1])))
    for words, body in (
        ("A body of no bytes.", b""),
        ("Not MessagePack: the byte that is never used, alone.", b"\xc1"),
        ("The body ends before its array does.", good[:-1]),
        ("A byte after the array.", good + b"\xc0"),
        ("Two frames in one body.", good + good),
        ("A map in place of the array.", pack({0: 1})),
        ("An integer in place of the array.", pack(good[1])),
        ("An empty array.", pack([])),
        ("The kind as text.", pack([str(good[1]), 1])),
        ("The kind as a float.", pack([float(good[1]), 1])),
        ("The kind as a bool.", pack([True, 1])),
        ("A negative kind.", pack([-1, 1])),
        ("A kind that nobody sends.", pack([99, 1])),
        ("A place too few.", pack([good[1]])),
        ("A place too many.", pack([good[1], 1, None])),
    )
]

DIODE = [
    *(
        invalid(
            C,
            "the diode",
            f"A controller's {name} sent by the subject: it has no such kind.",
            pack(frame),
        )
        for name, frame in (
            ("HELLO", [0, [1], {}, []]),
            ("PRESENT", [1, 1, b"token"]),
            ("CALL", call()),
            ("FINISH", [3, [1]]),
            ("RELEASE", [4, [1]]),
            ("CREDIT", [5, 1, 1]),
            ("PING", [6, 1]),
            ("ABORT", [7, 1, ""]),
        )
    ),
    *(
        invalid(S, "the diode", f"A subject's {name} sent by the controller.", body_of(frame))
        for name, frame in (
            ("HELLO", HELLO),
            ("RETURN", [17, 1, 0, None]),
            ("GOAWAY", [18, 1]),
            ("ABORT", [19, 1, ""]),
            ("END", [20, 1, None]),
            ("PONG", [21, 1]),
            ("CHUNK", [0xC1, 1, b"\x00"]),
        )
    ),
]

VALUES = [
    make(rule, words, *parts)
    for make in (bad_argument, bad_payload)
    for rule, words, parts in (
        ("text keys", "A map with an integer as key.", ("8101c0",)),
        ("text keys", "A map with bytes as key.", ("81c40161c0",)),
        ("text keys", "A map with null as key.", ("81c0c0",)),
        ("text keys", "A map with a list as key.", ("8190c0",)),
        ("unique keys", "A key twice in one map, with the same value.", ("82a16101a16101",)),
        ("unique keys", "A key twice in a map that stands inside a list.", ("9182a16101a16102",)),
        ("finite numbers", "A float64 that is not a number.", ("cb7ff8000000000000",)),
        ("finite numbers", "A float64 that is infinite.", ("cb7ff0000000000000",)),
        ("finite numbers", "A float32 that is minus infinity.", ("caff800000",)),
        ("finite numbers", "A NaN inside a map inside a list.", ("9181a161cb7ff8000000000000",)),
        ("64 bits with sign", "The integer 2^63.", ("cf8000000000000000",)),
        ("64 bits with sign", "The integer 2^64-1, inside a list.", ("91cfffffffffffffffff",)),
        ("UTF-8", "A lone continuation byte in a text.", ("a180",)),
        ("UTF-8", "An overlong slash.", ("a2c0af",)),
        ("UTF-8", "A surrogate in a text.", ("a3eda080",)),
        ("UTF-8", "A code point above U+10FFFF.", ("a4f4908080",)),
        ("UTF-8", "A text that ends inside a letter.", ("a1c3",)),
        ("UTF-8", "Bad UTF-8 in a key.", ("81a1ffc0",)),
        ("known extensions", "Extension 0.", ("d40000",)),
        ("known extensions", "Extension 5.", ("d40500",)),
        ("known extensions", "Extension 127, without data.", ("c7007f",)),
        ("known extensions", "Extension -1: MessagePack's own timestamp.", ("d6ff00000000",)),
        ("known extensions", "Extension -1 in its longest form.", ("c70cff" + "00" * 12,)),
        ("decimal", "A decimal with a scale and no number.", ("d40102",)),
        ("decimal", "A decimal of scale 39.", ("d5012701",)),
        ("decimal", "A decimal whose scale looks negative.", ("d501ff01",)),
        ("decimal", "A decimal of 33 number bytes.", ("c7220100" + "01" * 33,)),
        ("decimal", "A decimal without data.", ("c70001",)),
        ("date", "A date of 2 bytes.", ("d5020000",)),
        ("date", "A date of 8 bytes.", ("d702" + "00" * 8,)),
        (
            "date",
            "The day before year 1.",
            ("d602" + (-719163).to_bytes(4, "big", signed=True).hex(),),
        ),
        ("date", "The day after year 9999.", ("d602" + (2932897).to_bytes(4, "big").hex(),)),
        ("instant", "An instant of 4 bytes.", ("d60300000000",)),
        (
            "instant",
            "The microsecond before year 1.",
            ("d703" + (-62135596800000001).to_bytes(8, "big", signed=True).hex(),),
        ),
        (
            "instant",
            "The first microsecond of year 10000.",
            ("d703" + (253402300800000000).to_bytes(8, "big").hex(),),
        ),
        (
            "limits of a body",
            "A map bomb: 65,537 empty maps in one list.",
            ("dd00010001", repeat("80", 65537)),
        ),
        (
            "limits of a body",
            "4,097 keys in one map.",
            ("de1001", *(f"a4{f'{number:04}'.encode().hex()}c0" for number in range(4097))),
        ),
        (
            "limits of a body",
            "A list that claims 4,294,967,295 items and has one.",
            ("ddffffffffc0",),
        ),
        ("limits of a body", "A map that claims 4,294,967,295 keys and has none.", ("dfffffffff",)),
        ("limits of a body", "Ten thousand lists inside each other.", (repeat("91", 10_000), "c0")),
        ("limits of a body", "A text that claims 4,294,967,295 bytes.", ("dbffffffff61",)),
        ("limits of a body", "Bytes that claim more than the body holds.", ("c6000000ff61",)),
    )
]

DEPTH = [
    bad_call(
        "limits of a body", "Containers nested 33 deep, the argument list among them.", nested(32)
    ),
    bad_frame(C, "limits of a body", "A value nested 33 deep.", 17, 1, 0, nested(33)),
]

TARGETS = [
    ("an empty list", []),
    ("a question alone", [1]),
    ("three places", [1, [], []]),
    ("question 0", [0, []]),
    ("a negative question", [-1, []]),
    ("a bool as the question", [True, []]),
    ("a negative reference", -1),
    ("a bool", True),
    ("a float", 1.0),
    ("null", None),
    ("a text", "bootstrap"),
    ("a path that is one text", [1, "key"]),
    ("a negative index in the path", [1, [-1]]),
    ("a bool in the path", [1, [True]]),
    ("bytes in the path", [1, [b"key"]]),
    ("a list in the path", [1, [["key"]]]),
    ("null in the path", [1, [None]]),
]

FIELDS_OF_CALL = [
    *(
        bad_call("field types", f"CALL whose {name} is {words}.", **{name: value})
        for name, words, value in (
            ("question", "0", 0),
            ("question", "negative", -1),
            ("question", "a bool", True),
            ("question", "a float", 1.0),
            ("question", "null", None),
            ("question", "2^63", 2**63),
            *(("target", words, target) for words, target in TARGETS),
            ("method", "an empty text", ""),
            ("method", "129 characters long", "m" * 129),
            ("method", "bytes", b"health"),
            ("method", "null", None),
            ("arguments", "null", None),
            ("arguments", "a map", {}),
            ("arguments", "a text", "abc"),
            ("remaining_ms", "negative", -1),
            ("remaining_ms", "a millisecond more than a day", 86_400_001),
            ("remaining_ms", "a float", 1.5),
            ("remaining_ms", "null", None),
            ("accept_bytes", "negative", -1),
            ("accept_bytes", "a bool", False),
            ("accept_bytes", "2^63", 2**63),
            ("flags", "4", 4),
            ("flags", "negative", -1),
            ("flags", "a bool", True),
            ("invocation", "a text", "signed"),
            ("invocation", "a list", []),
            ("invocation", "4,097 bytes long", b"\x00" * 4097),
        )
    ),
    invalid(
        S,
        "field types",
        "CALL of the shape before invocations: a place too few.",
        pack(call()[:-1]),
    ),
]

PROMISED = [
    *(
        bad_call(
            "promised arguments",
            f"A promised argument that names {words}.",
            ext(4, pack(target)),
            question=2,
        )
        for words, target in TARGETS
    ),
    bad_call("promised arguments", "A promised argument without data.", ext(4, b"")),
    bad_call(
        "promised arguments", "Bytes after the name in a promised argument.", ext(4, b"\x00\x00")
    ),
    bad_call(
        "promised arguments",
        "A promised argument inside a promised argument.",
        ext(4, pack(Promised(0))),
    ),
    bad_call("promised arguments", "Seventeen promised arguments.", *[Promised(0)] * 17),
    bad_call(
        "promised arguments",
        "Seventeen promised arguments, spread over lists and maps.",
        [Promised(0)] * 9,
        {str(number): Promised(0) for number in range(8)},
    ),
    bad_frame(C, "promised arguments", "A promised value in a RETURN.", 17, 1, 0, Promised(0)),
    bad_frame(
        C,
        "promised arguments",
        "A promised value deep inside a RETURN.",
        17,
        1,
        0,
        [{"a": Promised([1, []])}],
    ),
    bad_frame(
        C, "promised arguments", "A promised value as a stream's header.", 17, 1, 3, Promised(0)
    ),
    bad_frame(S, "promised arguments", "A promised value as a token.", 1, 1, Promised(0)),
    bad_frame(
        S, "promised arguments", "A promised value as a CALL's target.", *call(target=Promised(0))
    ),
]

FIELDS_FROM_CONTROLLER = [
    bad_frame(S, "field types", words, *frame)
    for words, frame in (
        ("PRESENT with question 0.", [1, 0, b""]),
        ("PRESENT with a token of text.", [1, 1, "token"]),
        ("PRESENT without a token.", [1, 1, None]),
        ("FINISH of nothing.", [3, []]),
        ("FINISH of one number in place of a list.", [3, 1]),
        ("FINISH of question 0.", [3, [0]]),
        ("FINISH of a negative question.", [3, [-1]]),
        ("FINISH of a bool.", [3, [True]]),
        ("FINISH of 4,097 questions.", [3, [1] * 4097]),
        ("RELEASE of nothing.", [4, []]),
        ("RELEASE of the bootstrap object.", [4, [0]]),
        ("RELEASE of a negative reference.", [4, [-5]]),
        ("RELEASE of a text.", [4, ["1"]]),
        ("RELEASE of 4,097 references.", [4, [1] * 4097]),
        ("CREDIT for question 0.", [5, 0, 1]),
        ("CREDIT of no bytes.", [5, 1, 0]),
        ("CREDIT of minus one byte.", [5, 1, -1]),
        ("CREDIT of a float.", [5, 1, 1.0]),
        ("CREDIT of 2^63 bytes.", [5, 1, 2**63]),
        ("PING with a negative number.", [6, -1]),
        ("PING with a text.", [6, "1"]),
        ("PING with a bool.", [6, True]),
        ("ABORT with code 0.", [7, 0, ""]),
        ("ABORT with a text of 1,001 characters.", [7, 1, "x" * 1001]),
        ("ABORT with bytes for a text.", [7, 1, b""]),
    )
]

FIELDS_FROM_SUBJECT = [
    bad_frame(C, "field types", words, *frame)
    for words, frame in (
        ("RETURN for question 0.", [17, 0, 0, None]),
        ("RETURN for a negative question.", [17, -1, 0, None]),
        ("RETURN for a bool.", [17, True, 0, None]),
        ("RETURN with status 4.", [17, 1, 4, None]),
        ("RETURN with a bool for a status.", [17, 1, False, None]),
        ("RETURN of the reference 0: the bootstrap is never returned.", [17, 1, 1, 0]),
        ("RETURN of a negative reference.", [17, 1, 1, -1]),
        ("RETURN of a reference that is a text.", [17, 1, 1, "1"]),
        ("RETURN of a reference that is a bool.", [17, 1, 1, True]),
        ("RETURN of an error that is a text.", [17, 1, 2, "denied"]),
        ("RETURN of an error with three places.", [17, 1, 2, [1, 0, ""]]),
        ("RETURN of an error with five places.", [17, 1, 2, [1, 0, "", "", ""]]),
        ("RETURN of the error 0.", [17, 1, 2, [0, 0, "", ""]]),
        (
            "RETURN of the error 14, which the closed table does not have.",
            [17, 1, 2, [14, 0, "", ""]],
        ),
        ("RETURN of an error with a bool for a code.", [17, 1, 2, [True, 0, "", ""]]),
        ("RETURN of an error with processed 3.", [17, 1, 2, [1, 3, "", ""]]),
        (
            "RETURN of an error with a correlation id of 65 characters.",
            [17, 1, 2, [1, 0, "c" * 65, ""]],
        ),
        ("RETURN of an error with a text of 1,001 characters.", [17, 1, 2, [1, 0, "", "x" * 1001]]),
        ("RETURN of an error with null for a text.", [17, 1, 2, [1, 0, "", None]]),
        ("GOAWAY after a negative question.", [18, -1]),
        ("GOAWAY after a bool.", [18, True]),
        ("ABORT with code 0.", [19, 0, ""]),
        ("ABORT with a text of 1,001 characters.", [19, 1, "x" * 1001]),
        ("END for question 0.", [20, 0, None]),
        ("END with an error that is a text.", [20, 1, "cut"]),
        ("END with an error of an unknown code.", [20, 1, [14, 0, "", ""]]),
        ("END with an empty error.", [20, 1, []]),
        ("PONG with a negative number.", [21, -1]),
    )
]

HELLOS = [
    {**each, "first": True}
    for each in (
        *(
            bad_frame(S, "field types", f"A HELLO with {words}.", 0, *places)
            for words, places in (
                ("no versions", [[], {}, []]),
                ("version 0", [[0], {}, []]),
                ("a version as text", [["1"], {}, []]),
                ("65 versions", [list(range(1, 66)), {}, []]),
                ("limits that are a list", [[1], [], []]),
                ("a limit of 0", [[1], {"exports": 0}, []]),
                ("a limit that is a text", [[1], {"exports": "many"}, []]),
                ("a limit without a name", [[1], {"": 1}, []]),
                ("65 limits", [[1], {f"l{number}": 1 for number in range(65)}, []]),
                ("features that are a map", [[1], {}, {}]),
                ("a feature that is a number", [[1], {}, [1]]),
                ("65 features", [[1], {}, ["f"] * 65]),
            )
        ),
        *(
            bad_frame(C, "field types", f"A HELLO with {words}.", 16, *places)
            for words, places in (
                ("version 0", [0, {}, [], ARCHIVE_ID, ARCHIVE_TIME]),
                ("an archive id of 31 bytes", [1, {}, [], ARCHIVE_ID[1:], ARCHIVE_TIME]),
                ("an archive id that is a text", [1, {}, [], "a" * 32, ARCHIVE_TIME]),
                ("a time that is a number", [1, {}, [], ARCHIVE_ID, 1_767_323_045]),
                ("a time that is a date", [1, {}, [], ARCHIVE_ID, ARCHIVE_TIME.date()]),
                (
                    "a time of year 0",
                    [1, {}, [], ARCHIVE_ID, ext(3, (-(2**62)).to_bytes(8, "big", signed=True))],
                ),
            )
        ),
    )
]

CHUNKS = [
    invalid(C, "chunks", words, bytes.fromhex(hexed_body))
    for words, hexed_body in (
        ("A CHUNK without data.", "c10000000000000001"),
        ("A CHUNK that ends inside its question id.", "c100000001"),
        ("A CHUNK for question 0.", "c1000000000000000000"),
        ("A CHUNK for question 2^63.", "c1800000000000000000"),
        ("The kind 193 as a MessagePack array.", "93ccc101c40100"),
    )
]

INVALID = [
    *ONE_BODY,
    *DIODE,
    *VALUES,
    *DEPTH,
    *FIELDS_OF_CALL,
    *PROMISED,
    *FIELDS_FROM_CONTROLLER,
    *FIELDS_FROM_SUBJECT,
    *HELLOS,
    *CHUNKS,
]
