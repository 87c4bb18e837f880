"""Cases for a live peer whose objects we do not know: said by us, and what it must do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._pack import case

Step = dict[str, Any]

ANY = "*"
M = {"use": "method"}
TOP = {"integer": str(2**63 - 1)}


def call(
    question: int, target: object = 0, method: object = M, *arguments: object, **other: object
) -> list[object]:
    places = {"remaining_ms": 30_000, "accept_bytes": 1_048_576, "flags": 0, "invocation": None}
    return [2, question, target, method, list(arguments), *(places | other).values()]


def say(*frames: Sequence[object], **other: object) -> Step:
    return {"say": [list(frame) for frame in frames], **other}


def hear(*frames: Sequence[object]) -> Step:
    return {"hear": [list(frame) for frame in frames]}


def ends(*codes: int) -> Step:
    return {"ends": list(codes or (1,))}


def unless_raised(limit: str) -> Step:
    """Nothing more is tried if its HELLO raised this limit."""
    return {"unless_raised": limit}


ALIVE = {"alive": True}
LEAVES = {"leaves": True}


def value(question: object) -> list[object]:
    return [17, question, 0, ANY]


def error(question: int, *codes: int, processed: object = 0) -> list[object]:
    return [17, question, 2, [{"one_of": list(codes)}, processed, ANY, ANY]]


def live(words: str, *steps: Step, **other: object) -> dict[str, Any]:
    return case(words, steps=list(steps), **other)


HELLO = [0, [1], {}, []]
ITS_HELLO = hear([16, 1, ANY, ANY, ANY, ANY])

GREETINGS = [
    live("HELLO is answered with HELLO.", say(HELLO), ITS_HELLO, ALIVE, ungreeted=True),
    live(
        "HELLO and a call in one flight: HELLO comes back first, then the answer.",
        say(HELLO, call(1)),
        ITS_HELLO,
        hear(value(1)),
        ungreeted=True,
    ),
    live(
        "The same, one byte at a time.",
        say(HELLO, call(1), byte_by_byte=True),
        ITS_HELLO,
        hear(value(1)),
        ungreeted=True,
    ),
    live(
        "Of several versions it chooses the one that it speaks.",
        say([0, [9, 1], {}, []]),
        ITS_HELLO,
        ALIVE,
        ungreeted=True,
    ),
    live("No common version: ABORT 2.", say([0, [9], {}, []]), ends(2), ungreeted=True),
    live(
        "An unknown limit and an unknown feature are ignored.",
        say([0, [1], {"of_a_later_version": 1}, ["telepathy"]]),
        ITS_HELLO,
        ALIVE,
        ungreeted=True,
    ),
    live("A HELLO that lowers a limit.", say([0, [1], {"exports": 1}, []]), ends(), ungreeted=True),
    live("A CALL before the HELLO.", say(call(1)), ends(), ungreeted=True),
    live("A PING before the HELLO.", say([6, 1]), ends(), ungreeted=True),
    live("A second HELLO.", say(HELLO), ends()),
    live(
        "A header that announces 262,145 bytes: refused before they come.",
        {"say_hex": "00040001"},
        ends(),
        ungreeted=True,
    ),
    live("A header that announces 4 GiB, after the greeting.", {"say_hex": "ffffffff"}, ends()),
]

ANSWERS = [
    live("The null call is answered once.", say(call(1)), hear(value(1)), ALIVE),
    live(
        "The same, with frames cut into single bytes.",
        say(call(1), [6, 5], byte_by_byte=True),
        hear(value(1), [21, 5]),
        ALIVE,
    ),
    live(
        "A hundred calls in one flight: each is answered once.",
        say(*[call(number) for number in range(1, 101)]),
        hear(*[value(number) for number in range(1, 101)]),
        ALIVE,
    ),
    live("Ids may leave gaps.", say(call(7), call(1000)), hear(value(7), value(1000)), ALIVE),
    live("Flag 1: the value is not sent.", say(call(1, flags=1)), hear([17, 1, 0, None]), ALIVE),
    live(
        "Flag 2: nothing is kept. A call on the answer is `overloaded`, processed no.",
        say(call(1, flags=2)),
        hear(value(1)),
        say(call(2, [1, []])),
        hear(error(2, 8)),
        ALIVE,
    ),
    live(
        "A finished answer is not kept. A call on it is `overloaded`, processed no.",
        say(call(1)),
        hear(value(1)),
        say([3, [1]], call(2, [1, []])),
        hear(error(2, 8)),
        ALIVE,
    ),
    live(
        "FINISH again is late, and ignored.",
        say(call(1)),
        hear(value(1)),
        say([3, [1]], [3, [1, 1]]),
        ALIVE,
    ),
    live(
        "A call on a plain value is `invalid`, processed no, before it is there or after.",
        say(call(1), call(2, [1, []])),
        hear(value(1), error(2, 4)),
        say(call(3, [1, []])),
        hear(error(3, 4)),
        ALIVE,
    ),
    live(
        "A path to nowhere is `denied`, and attributes are nowhere.",
        say(
            call(1),
            *[
                call(number, [1, [step]])
                for number, step in enumerate(
                    ("__class__", "__dict__", "no such key", 10_000), start=2
                )
            ],
        ),
        hear(value(1), *[error(number, 1) for number in range(2, 6)]),
        ALIVE,
    ),
    live(
        "A path of 17 steps is `limit`, processed no.",
        unless_raised("path_length"),
        say(call(1), call(2, [1, [0] * 17])),
        hear(value(1), error(2, 7)),
        ALIVE,
    ),
    live(
        "An unknown method is `invalid` or `denied`, processed no.",
        say(call(1, 0, "no_such_method")),
        hear(error(1, 1, 4)),
        ALIVE,
    ),
    live(
        "No method name reaches inside: underscores, dots, attributes of the object.",
        say(
            *[
                call(number, 0, name)
                for number, name in enumerate(
                    (
                        "__init__",
                        "__class__",
                        "_",
                        "__getattribute__",
                        f"{'a'}.b",
                        "describe.__call__",
                    ),
                    start=1,
                )
            ]
        ),
        hear(*[error(number, 1, 4) for number in range(1, 7)]),
        ALIVE,
    ),
    live(
        "Arguments that the method does not take: `invalid`, processed no.",
        say(call(1, 0, M, *range(20))),
        hear(error(1, 4)),
        ALIVE,
    ),
    live(
        "A failed answer fails all that waits for it: same code, processed no.",
        say(call(1, 0, "no_such_method"), call(2, [1, []]), call(3, [2, ["x"]])),
        hear(
            [17, 1, 2, [{"as": "code"}, 0, ANY, ANY]],
            [17, 2, 2, [{"use": "code"}, 0, ANY, ANY]],
            [17, 3, 2, [{"use": "code"}, 0, ANY, ANY]],
        ),
        ALIVE,
    ),
    live(
        "A promised argument that failed fails the call: same code, processed no.",
        say(call(1, 0, "no_such_method"), call(2, 0, M, {"promised": [1, []]})),
        hear([17, 1, 2, [{"as": "code"}, 0, ANY, ANY]], [17, 2, 2, [{"use": "code"}, 0, ANY, ANY]]),
        ALIVE,
    ),
    live(
        "A promised argument that leads nowhere: `denied`, processed no.",
        say(call(1), call(2, 0, M, {"promised": [1, ["no such key"]]})),
        hear(value(1), error(2, 1)),
        ALIVE,
    ),
    live(
        "`accept_bytes` 0: the result is `limit`, processed yes.",
        say(call(1, accept_bytes=0)),
        hear(error(1, 7, processed=2)),
        ALIVE,
    ),
    live(
        "Releasing twice what was never there ends the connection; PING is answered before.",
        say([6, 3], [4, [1]]),
        hear([21, 3]),
        ends(),
    ),
    live(
        "PINGs are answered in their order, each once.",
        say([6, 3], [6, 1], [6, 3]),
        hear([21, 3]),
        hear([21, 1]),
        hear([21, 3]),
        ALIVE,
    ),
    live(
        "CREDIT for a question that is over is late, and ignored.",
        say(call(1, flags=2)),
        hear(value(1)),
        say([5, 1, 100]),
        ALIVE,
    ),
    live("After ABORT it closes without a word.", say([7, 3, "closing"]), ends(3)),
]

TOKENS = [
    live(
        "A token that is none is `denied`, and says nothing else.",
        say([1, 1, {"bytes": "00ff"}]),
        hear(error(1, 1)),
        ALIVE,
    ),
    live(
        "Calls on a refused grant are `denied` too, processed no.",
        say([1, 1, {"bytes": ""}], call(2, [1, []])),
        hear(error(1, 1), error(2, 1)),
        ALIVE,
    ),
    live(
        "A token of 32,769 bytes is `limit`.",
        unless_raised("token_bytes"),
        say([1, 1, {"bytes": [{"repeat": "00", "times": 32_769}]}]),
        hear(error(1, 7)),
        ALIVE,
    ),
]


def long_token(question: int) -> list[object]:
    return [1, question, {"bytes": [{"repeat": "00", "times": 250_000}]}]


LIMITS = [
    live(
        "More than 1,048,576 bytes before any grant has verified: ABORT 4.",
        unless_raised("ungranted_bytes"),
        unless_raised("token_bytes"),
        *[
            step
            for question in range(1, 5)
            for step in (say(long_token(question)), hear(error(question, 7)))
        ],
        say(long_token(5)),
        ends(4),
    ),
    live(
        "1,025 calls wait for one answer: the last is `overloaded`, processed no.",
        unless_raised("queued_per_answer"),
        say(call(1, 0, {"use": "slow"}), *[call(number, [1, []]) for number in range(2, 1027)]),
        hear(error(1026, 8)),
        ALIVE,
        needs=["slow"],
    ),
]

BREACHES = [
    live(
        "The same question id twice: the first is answered, or not any more.",
        say(call(1)),
        hear(value(1)),
        say(call(1)),
        ends(),
    ),
    live("A question id below the last.", say(call(5)), hear(value(5)), say(call(4)), ends()),
    live(
        "PRESENT and CALL share one counter.",
        say([1, 3, {"bytes": ""}]),
        hear(error(3, 1)),
        say(call(3)),
        ends(),
    ),
    *(
        live(words, say(frame), ends())
        for words, frame in (
            ("FINISH of a question that was never asked.", [3, [1]]),
            ("RELEASE of a reference that was never given.", [4, [1]]),
            ("A CALL on a reference that was never given.", call(1, 1)),
            ("CREDIT for a question that was never asked.", [5, 1, 1]),
            ("A CALL on its own answer.", call(1, [1, []])),
            ("A CALL on the answer of a later question.", call(1, [2, []])),
            ("An argument that names the call's own answer.", call(1, 0, M, {"promised": [1, []]})),
            ("An argument that names a later answer.", call(1, 0, M, {"promised": [9, []]})),
            (
                "An argument that names a reference that was never given.",
                call(1, 0, M, {"promised": 5}),
            ),
        )
    ),
    live(
        "What came before the breach has had its effect; what came after it has none.",
        say([6, 1]),
        hear([21, 1]),
        say([3, [1]], [6, 2]),
        ends(),
    ),
]

OBJECT = {"use": "object"}
ROOM = {"use": "room"}
OBJECTS = [
    live(
        "A reference has an id above 0; a call on it is answered.",
        say(call(1, 0, OBJECT)),
        hear([17, 1, 1, {"as": "room"}]),
        say(call(2, ROOM, "no_such_method")),
        hear(error(2, 1, 4)),
        ALIVE,
        needs=["object"],
    ),
    live(
        "A call on a promised object leaves in the same flight.",
        say(call(1, 0, OBJECT), call(2, [1, []], "no_such_method")),
        hear([17, 1, 1, ANY], error(2, 1, 4)),
        ALIVE,
        needs=["object"],
    ),
    live(
        "A path into an object is `denied`: an object has no inside.",
        say(call(1, 0, OBJECT), call(2, [1, ["__class__"]])),
        hear([17, 1, 1, ANY], error(2, 1)),
        ALIVE,
        needs=["object"],
    ),
    live(
        "Flag 1: no reference is made, and calls on the answer work all the same.",
        say(call(1, 0, OBJECT, flags=1), call(2, [1, []], "no_such_method")),
        hear([17, 1, 0, None], error(2, 1, 4)),
        ALIVE,
        needs=["object"],
    ),
    live(
        "A released reference is gone: `invalid`, processed no; releasing it again is ignored.",
        say(call(1, 0, OBJECT)),
        hear([17, 1, 1, {"as": "room"}]),
        say([4, [ROOM]], [4, [ROOM]], call(2, ROOM, "no_such_method")),
        hear(error(2, 4)),
        ALIVE,
        needs=["object"],
    ),
    live(
        "The same method twice gives two references.",
        say(call(1, 0, OBJECT)),
        hear([17, 1, 1, {"as": "room"}]),
        say(call(2, 0, OBJECT)),
        hear([17, 2, 1, {"as": "other"}]),
        say([4, [ROOM]], call(3, {"use": "other"}, "no_such")),
        hear(error(3, 1, 4)),
        say(call(4, ROOM, "no_such")),
        hear(error(4, 4)),
        ALIVE,
        needs=["object"],
    ),
]

STREAM = {"use": "stream"}
STREAMS = [
    live(
        "A stream without credit sends its header and not one byte.",
        say(call(1, 0, STREAM, accept_bytes=0)),
        hear([17, 1, 3, ANY]),
        ALIVE,
        needs=["stream"],
    ),
    live(
        "A stream sends what it has credit for; CREDIT lets more leave.",
        say(call(1, 0, STREAM, accept_bytes=4)),
        hear([17, 1, 3, ANY]),
        {"stream": 1, "bytes": 4},
        ALIVE,
        say([5, 1, 1]),
        {"stream": 1, "bytes": 1},
        ALIVE,
        say([5, 1, 3], [5, 1, 2]),
        {"stream": 1, "bytes": 5},
        ALIVE,
        needs=["stream"],
    ),
    live(
        "FINISH ends a stream; CREDIT that comes after it is late, and ignored.",
        say(call(1, 0, STREAM, accept_bytes=4)),
        hear([17, 1, 3, ANY]),
        {"stream": 1, "bytes": 4},
        say([3, [1]], [5, 1, 100]),
        ALIVE,
        needs=["stream"],
    ),
    live(
        "A null call is answered while a stream waits for its credit.",
        say(call(1, 0, STREAM, accept_bytes=1)),
        hear([17, 1, 3, ANY]),
        {"stream": 1, "bytes": 1},
        say(call(2)),
        hear(value(2)),
        ALIVE,
        needs=["stream"],
    ),
]

SLOW = {"use": "slow"}
SLOWLY = [
    live(
        "PING is answered while a call runs.",
        say(call(1, 0, SLOW), [6, 1]),
        hear([21, 1]),
        needs=["slow"],
    ),
    live(
        "FINISH cancels a call, and nothing is said about it.",
        say(call(1, 0, SLOW), [3, [1]]),
        ALIVE,
        say(call(2)),
        hear(value(2)),
        ALIVE,
        needs=["slow"],
    ),
    live(
        "A call whose time runs out is `deadline`.",
        say(call(1, 0, SLOW, remaining_ms=50)),
        hear(error(1, 9, processed={"one_of": [0, 1]})),
        ALIVE,
        needs=["slow"],
    ),
]

LIVE_SUBJECT = [
    *GREETINGS,
    *ANSWERS,
    *TOKENS,
    *LIMITS,
    *BREACHES,
    *OBJECTS,
    *STREAMS,
    *SLOWLY,
]

Q = {"use": "question"}
ID = {"use": "archive_id"}
TIME = {"instant": "2026-01-02T03:04:05.000000Z"}
OUR_HELLO = [16, 1, {}, [], ID, TIME]


LAWFUL = [
    live("A plain answer.", say([17, Q, 0, {"ok": True}]), LEAVES),
    live("The same, one byte at a time.", say([17, Q, 0, {"ok": True}], byte_by_byte=True), LEAVES),
    live("An error.", say([17, Q, 2, [8, 0, "", "try again later"]]), LEAVES),
    live(
        "An error whose text is hostile: it is text, and nothing else.",
        say([17, Q, 2, [13, 1, "c\u202e1", "\u001b]0;owned\u0007\u202e"]]),
        LEAVES,
    ),
    live("A reference that nobody expected.", say([17, Q, 1, 1]), LEAVES),
    live(
        "A raised limit, an unknown one, and an unknown feature.",
        say(
            [16, 1, {"exports": 100_000, "of_a_later_version": 1}, ["telepathy"], ID, TIME],
            [17, Q, 0, None],
        ),
        LEAVES,
        ungreeted=True,
    ),
    live(
        "A stream with nothing in it, complete at once.",
        say([17, Q, 3, None], [20, Q, None]),
        LEAVES,
    ),
    live(
        "A stream that is cut short at once.",
        say([17, Q, 3, None], [20, Q, [13, 1, "", ""]]),
        LEAVES,
    ),
    live("GOAWAY, and the answer after it.", say([18, Q], [17, Q, 0, None]), LEAVES),
    live("GOAWAY 0: its question was not started.", say([18, 0]), LEAVES),
    live("ABORT: it says nothing more.", say([19, 3, "closing"]), ends(3)),
    live("ABORT with a code of a later version.", say([19, 77, ""]), ends(3)),
    live(
        "An ABORT in place of the HELLO.",
        say([19, 2, "no common version"]),
        ends(3),
        ungreeted=True,
    ),
]

HOSTILE = [
    *(
        live(words, say(*frames), ends())
        for words, frames in (
            ("A RETURN for a question that was never asked.", [[17, TOP, 0, None]]),
            ("A reference for a question that was never asked.", [[17, TOP, 1, 1]]),
            ("A second HELLO.", [OUR_HELLO]),
            ("A PONG without a PING.", [[21, 12345]]),
            ("A CHUNK before the RETURN.", [[0xC1, Q, {"bytes": "00"}]]),
            ("A CHUNK for a question that was never asked.", [[0xC1, TOP, {"bytes": "00"}]]),
            ("An END before the RETURN.", [[20, Q, None]]),
            ("An END for a question that was never asked.", [[20, TOP, None]]),
        )
    ),
    live("A RETURN in place of the HELLO.", say([17, Q, 0, None]), ends(), ungreeted=True),
    live("A GOAWAY in place of the HELLO.", say([18, 0]), ends(), ungreeted=True),
    live("A PONG in place of the HELLO.", say([21, 1]), ends(), ungreeted=True),
    live("A version that was not offered.", say([16, 2, {}, [], ID, TIME]), ends(), ungreeted=True),
    live(
        "A HELLO that lowers a limit.",
        say([16, 1, {"exports": 1}, [], ID, TIME]),
        ends(),
        ungreeted=True,
    ),
    live("A header that announces 262,145 bytes.", {"say_hex": "00040001"}, ends()),
    live(
        "A header that announces 4 GiB, in place of the HELLO.",
        {"say_hex": "ffffffff"},
        ends(),
        ungreeted=True,
    ),
]

LIVE_CONTROLLER = [*LAWFUL, *HOSTILE]
