"""Whole sessions, byte for byte, and what each side sees in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psp.conformance import to_json
from psp.wire import Promised

from ._pack import ARCHIVE_ID, ARCHIVE_TIME, Part, case, framed

Step = dict[str, Any]
BOTH = ("controller", "subject")

HELLO_C = [0, [1], {}, []]
HELLO_S = [16, 1, {}, [], ARCHIVE_ID, ARCHIVE_TIME]
MIB = 1_048_576


def call(
    question: int,
    target: object,
    method: str,
    *arguments: object,
    flags: int = 0,
    accept: int = MIB,
) -> list[object]:
    return [2, question, target, method, list(arguments), 30_000, accept, flags, None]


def sent(by: str, words: str, *frames: Sequence[object]) -> Step:
    return {
        "from": by,
        "words": words,
        "hex": framed(*frames).hex(),
        "frames": [to_json(list(frame)) for frame in frames],
    }


def c(words: str, *frames: Sequence[object]) -> Step:
    return sent("controller", words, *frames)


def s(words: str, *frames: Sequence[object]) -> Step:
    return sent("subject", words, *frames)


def asks(words: str, *actions: Sequence[object]) -> Step:
    """What the controller's program does."""
    return {"at": "controller", "words": words, "does": to_json(list(actions))}


def answers(words: str, *actions: Sequence[object]) -> Step:
    """What the subject's program does."""
    return {"at": "subject", "words": words, "does": to_json(list(actions))}


def hears(words: str, *events: Sequence[object]) -> Step:
    """What the controller's program is told since the last time."""
    return {"at": "controller", "words": words, "sees": to_json(list(events))}


def gets(words: str, *events: Sequence[object]) -> Step:
    """What the subject's program is told since the last time."""
    return {"at": "subject", "words": words, "sees": to_json(list(events))}


def session(words: str, *steps: Step, plays: Sequence[str] = BOTH) -> dict[str, Any]:
    """`plays`: the sides that do all this by themselves; the other may be a liar."""
    return case(words, plays=list(plays), steps=list(steps))


GREETED = (
    c("The controller greets.", HELLO_C),
    s("The subject greets.", HELLO_S),
    hears("The archive is known.", ["hello"]),
)


def wronged(
    side: str,
    words: str,
    why: str,
    *steps: Step,
    greeted: bool = True,
    code: int = 1,
    first: Sequence[Sequence[object]] = (),
) -> dict[str, Any]:
    """A session that `side` must end, because the last flight of `steps` broke a rule.

    Args:
        first: What its program sees before it learns that the connection is over.
    """
    kind = 7 if side == "controller" else 19
    over = [*to_json(list(first)), ["aborted", code, "by us"]]
    return session(
        words,
        *(GREETED if greeted else ()),
        *steps,
        sent(side, why, [kind, code, ""]),
        {"at": side, "words": "The connection is over.", "sees": over},
        plays=[side],
    )


BOOT = "bootstrap"


def thing(question: int) -> dict[str, int]:
    """The object that the answer of a question made."""
    return {"object": question}


ORDINARY = [
    session("The greeting.", *GREETED),
    session(
        "The null call, in one flight with the greeting: one round trip from nothing to an answer.",
        asks("Ask for `health` and keep no answer.", ["call", 1, 0, "health", [], 2]),
        c("HELLO and the call leave together.", HELLO_C, call(1, 0, "health", flags=2)),
        gets("The call can start.", ["ready", 1, BOOT, "health", []]),
        answers("It is well.", ["value", 1, {"ok": True}]),
        s("HELLO comes first, then the answer.", HELLO_S, [17, 1, 0, {"ok": True}]),
        hears(
            "The question is over: nothing is kept, so no FINISH follows.",
            ["hello"],
            ["returned", 1, "value", {"ok": True}],
        ),
    ),
    session(
        "Three dependent calls in one flight: grant, table, row. The map of rows never travels.",
        *GREETED,
        asks(
            "Each call is made on an answer that is not there yet.",
            ["present", 1, b"token"],
            ["call", 2, [1, []], "table", ["sales"], 1],
            ["call", 3, [2, ["rows", 0]], "price", [], 2],
        ),
        c(
            "They leave at once.",
            [1, 1, b"token"],
            call(2, [1, []], "table", "sales", flags=1),
            call(3, [2, ["rows", 0]], "price", flags=2),
        ),
        gets("Only the grant can be looked at; the calls wait.", ["present", 1, b"token"]),
        answers("The token is good.", ["reference", 1, "grant"]),
        gets(
            "The second call is made on what the grant gave.",
            ["ready", 2, thing(1), "table", ["sales"]],
        ),
        answers(
            "A map that holds objects; flag 1 says that nobody wants it sent.", ["rows", 2, "grant"]
        ),
        gets("The path has led to the first row.", ["ready", 3, thing(2), "price", []]),
        answers("The price.", ["value", 3, 120]),
        s("All three answers in one flight.", [17, 1, 1, 1], [17, 2, 0, None], [17, 3, 0, 120]),
        hears(
            "In the order of the RETURNs.",
            ["returned", 1, "reference", 1],
            ["returned", 2, "value", None],
            ["returned", 3, "value", 120],
        ),
        asks("Nothing is needed any more.", ["finish", 1], ["finish", 2], ["release", 1]),
        c("Given back in two frames.", [3, [1, 2]], [4, [1]]),
    ),
    session(
        "A promise as an argument: the value goes where it is used, and not over the wire.",
        *GREETED,
        asks(
            "Double what comes.",
            ["call", 1, 0, "read", [], 1],
            ["call", 2, 0, "double", [Promised([1, ["count"]])], 2],
        ),
        c(
            "The argument names a path into the first answer.",
            call(1, 0, "read", flags=1),
            call(2, 0, "double", Promised([1, ["count"]]), flags=2),
        ),
        gets("The second call waits.", ["ready", 1, BOOT, "read", []]),
        answers("A map.", ["value", 1, {"count": 21}]),
        gets("It has its argument.", ["ready", 2, BOOT, "double", [21]]),
        answers("42.", ["value", 2, 42]),
        s("Null for the step, 42 for the result.", [17, 1, 0, None], [17, 2, 0, 42]),
        hears("Done.", ["returned", 1, "value", None], ["returned", 2, "value", 42]),
        asks("The step is not needed any more.", ["finish", 1]),
        c("FINISH.", [3, [1]]),
    ),
    session(
        "A promised argument that is an object arrives as the object itself.",
        *GREETED,
        asks(
            "Compare two rooms.",
            ["call", 1, 0, "room", [1], 0],
            ["call", 2, 0, "compare", [{"to": [Promised([1, []])]}], 2],
        ),
        c(
            "In one flight.",
            call(1, 0, "room", 1),
            call(2, 0, "compare", {"to": [Promised([1, []])]}, flags=2),
        ),
        gets("The first call.", ["ready", 1, BOOT, "room", [1]]),
        answers("A room.", ["reference", 1, None]),
        gets(
            "The room stands where its name stood.",
            ["ready", 2, BOOT, "compare", [{"to": [thing(1)]}]],
        ),
        answers("They are equal.", ["value", 2, True]),
        s("A reference and a bool.", [17, 1, 1, 1], [17, 2, 0, True]),
        hears("Both.", ["returned", 1, "reference", 1], ["returned", 2, "value", True]),
    ),
    session(
        "A promised argument that failed fails the call: same code, processed no, never started.",
        *GREETED,
        asks(
            "Read, then double.",
            ["call", 1, 0, "read", [], 0],
            ["call", 2, 0, "double", [Promised([1, []])], 2],
        ),
        c("In one flight.", call(1, 0, "read"), call(2, 0, "double", Promised([1, []]), flags=2)),
        gets("The first call.", ["ready", 1, BOOT, "read", []]),
        answers("It failed after it had an effect.", ["error", 1, 13, 2]),
        s("Both fail.", [17, 1, 2, [13, 2, "", ""]], [17, 2, 2, [13, 0, "", ""]]),
        hears(
            "The first may have had an effect, the second has none.",
            ["returned", 1, "error", 13, 2],
            ["returned", 2, "error", 13, 0],
        ),
    ),
    session(
        "A call that waits for an argument holds back later calls on the same reference.",
        *GREETED,
        asks(
            "Three calls.",
            ["call", 1, 0, "slow", [], 0],
            ["call", 2, 0, "first", [Promised([1, []])], 2],
            ["call", 3, 0, "second", [], 2],
        ),
        c(
            "In one flight.",
            call(1, 0, "slow"),
            call(2, 0, "first", Promised([1, []]), flags=2),
            call(3, 0, "second", flags=2),
        ),
        gets("The third waits although it needs nothing.", ["ready", 1, BOOT, "slow", []]),
        answers("At last.", ["value", 1, 5]),
        gets("In call order.", ["ready", 2, BOOT, "first", [5]], ["ready", 3, BOOT, "second", []]),
        answers("They may end in any order.", ["value", 3, 3], ["value", 2, 2]),
        s("As they ended.", [17, 1, 0, 5], [17, 3, 0, 3], [17, 2, 0, 2]),
        hears(
            "As they came.",
            ["returned", 1, "value", 5],
            ["returned", 3, "value", 3],
            ["returned", 2, "value", 2],
        ),
    ),
    session(
        "An object of one grant as an argument of another grant's call is denied.",
        *GREETED,
        asks(
            "Two grants, one call.",
            ["present", 1, b"one"],
            ["present", 2, b"two"],
            ["call", 3, [1, []], "join", [Promised([2, []])], 2],
        ),
        c(
            "In one flight.",
            [1, 1, b"one"],
            [1, 2, b"two"],
            call(3, [1, []], "join", Promised([2, []]), flags=2),
        ),
        gets("Two tokens.", ["present", 1, b"one"], ["present", 2, b"two"]),
        answers("Both are good.", ["reference", 1, "one"], ["reference", 2, "two"]),
        s("No union of authority.", [17, 1, 1, 1], [17, 2, 1, 2], [17, 3, 2, [1, 0, "", ""]]),
        hears(
            "Denied.",
            ["returned", 1, "reference", 1],
            ["returned", 2, "reference", 2],
            ["returned", 3, "error", 1, 0],
        ),
    ),
]

FINISHING = [
    session(
        "FINISH before the RETURN: the call is cancelled and nothing is said about it.",
        *GREETED,
        asks("Ask.", ["call", 1, 0, "slow", [], 0]),
        c("The call.", call(1, 0, "slow")),
        gets("It runs.", ["ready", 1, BOOT, "slow", []]),
        asks("It is no longer wanted.", ["finish", 1]),
        c("FINISH.", [3, [1]]),
        gets("Stop.", ["cancelled", 1]),
        answers("Too late.", ["value", 1, "done"]),
        asks("Is anybody there?", ["ping", 1]),
        c("PING.", [6, 1]),
        s("Nothing but the PONG comes.", [21, 1]),
        hears("Alive.", ["ponged", 1]),
    ),
    session(
        "FINISH of an answer that another call waits for: it goes on, and sends no RETURN.",
        *GREETED,
        asks(
            "A chain of two.",
            ["call", 1, 0, "slow", [], 0],
            ["call", 2, [1, []], "next", [], 2],
            ["finish", 1],
        ),
        c(
            "FINISH leaves with the calls.",
            call(1, 0, "slow"),
            call(2, [1, []], "next", flags=2),
            [3, [1]],
        ),
        gets("It is not cancelled.", ["ready", 1, BOOT, "slow", []]),
        answers("An object.", ["reference", 1, None]),
        gets("The second call starts.", ["ready", 2, thing(1), "next", []]),
        answers("Seven.", ["value", 2, 7]),
        s("One RETURN.", [17, 2, 0, 7]),
        hears("One answer.", ["returned", 2, "value", 7]),
    ),
    session(
        "FINISH again, and FINISH of an answer that was not kept: late, and ignored.",
        *GREETED,
        c("Two calls.", call(1, 0, "read"), call(2, 0, "read", flags=2)),
        gets("Both run.", ["ready", 1, BOOT, "read", []], ["ready", 2, BOOT, "read", []]),
        answers("One and two.", ["value", 1, 1], ["value", 2, 2]),
        s("Both answers.", [17, 1, 0, 1], [17, 2, 0, 2]),
        c("Three times, and of the second, then PING.", [3, [1]], [3, [1, 1]], [3, [2]], [6, 9]),
        s("PONG: nothing is wrong.", [21, 9]),
        plays=["subject"],
    ),
    session(
        "A reference that crosses its FINISH is given back at once: nobody else knows of it.",
        *GREETED,
        asks("Ask, and give up.", ["call", 1, 0, "room", [], 0]),
        c("The call.", call(1, 0, "room")),
        asks("No longer wanted.", ["finish", 1]),
        c("FINISH.", [3, [1]]),
        s("The RETURN was already on its way.", [17, 1, 1, 1]),
        c("RELEASE, and nothing is told to the program.", [4, [1]]),
        plays=["controller"],
    ),
    session(
        "A value that crosses its FINISH is ignored.",
        *GREETED,
        asks("Ask, and give up.", ["call", 1, 0, "read", [], 0]),
        c("The call.", call(1, 0, "read")),
        asks("No longer wanted.", ["finish", 1], ["ping", 1]),
        c("FINISH leaves last.", [6, 1], [3, [1]]),
        s("The RETURN was already on its way.", [17, 1, 0, 5], [21, 1]),
        hears("Only the PONG.", ["ponged", 1]),
        plays=["controller"],
    ),
    session(
        "Flag 2: the answer is not kept, so a call on it fails with `overloaded`, processed no.",
        *GREETED,
        c("A call without pipelining.", call(1, 0, "read", flags=2)),
        gets("It runs.", ["ready", 1, BOOT, "read", []]),
        answers("One.", ["value", 1, 1]),
        s("The answer.", [17, 1, 0, 1]),
        c("A call on it all the same.", call(2, [1, []], "next", flags=2)),
        s("Not kept.", [17, 2, 2, [8, 0, "", ""]]),
        plays=["subject"],
    ),
    session(
        "A finished answer cannot be called on.",
        *GREETED,
        c("A call.", call(1, 0, "room")),
        gets("It runs.", ["ready", 1, BOOT, "room", []]),
        answers("A room.", ["reference", 1, None]),
        s("The answer.", [17, 1, 1, 1]),
        c("Given up, then called on.", [3, [1]], call(2, [1, []], "next", flags=2)),
        s("Not kept.", [17, 2, 2, [8, 0, "", ""]]),
        plays=["subject"],
    ),
    session(
        "A reference outlives its answer; a released one is gone; releasing it again is ignored.",
        *GREETED,
        c("A call.", call(1, 0, "room")),
        gets("It runs.", ["ready", 1, BOOT, "room", []]),
        answers("A room.", ["reference", 1, None]),
        s("Reference 1.", [17, 1, 1, 1]),
        c("FINISH, then a call on the reference.", [3, [1]], call(2, 1, "name", flags=2)),
        gets("It is the room.", ["ready", 2, thing(1), "name", []]),
        answers("Its name.", ["value", 2, "hall"]),
        s("The name.", [17, 2, 0, "hall"]),
        c(
            "Released, released again, and called on.",
            [4, [1]],
            [4, [1]],
            call(3, 1, "name", flags=2),
        ),
        s("`invalid`, processed no.", [17, 3, 2, [4, 0, "", ""]]),
        plays=["subject"],
    ),
]

FAILING = [
    session(
        "An error says whether the call had an effect.",
        *GREETED,
        asks("Pay.", ["call", 1, 0, "pay", [], 2]),
        c("The call.", call(1, 0, "pay", flags=2)),
        gets("It runs.", ["ready", 1, BOOT, "pay", []]),
        answers("It failed half way.", ["error", 1, 13, 1]),
        s("Processed: maybe.", [17, 1, 2, [13, 1, "", ""]]),
        hears("Do not simply repeat it.", ["returned", 1, "error", 13, 1]),
    ),
    session(
        "A failed answer fails all that waits for it: same code, processed no.",
        *GREETED,
        asks(
            "A chain of three.",
            ["call", 1, 0, "room", [], 0],
            ["call", 2, [1, []], "next", [], 0],
            ["call", 3, [2, []], "name", [], 2],
        ),
        c(
            "In one flight.",
            call(1, 0, "room"),
            call(2, [1, []], "next"),
            call(3, [2, []], "name", flags=2),
        ),
        gets("The first runs.", ["ready", 1, BOOT, "room", []]),
        answers("Expired.", ["error", 1, 2, 0]),
        s(
            "All three.",
            [17, 1, 2, [2, 0, "", ""]],
            [17, 2, 2, [2, 0, "", ""]],
            [17, 3, 2, [2, 0, "", ""]],
        ),
        hears(
            "All three.",
            ["returned", 1, "error", 2, 0],
            ["returned", 2, "error", 2, 0],
            ["returned", 3, "error", 2, 0],
        ),
    ),
    session(
        "A path to a plain value is `invalid`; a path to nowhere is `denied`, as is an attribute.",
        *GREETED,
        asks("Read a map.", ["call", 1, 0, "read", [], 0]),
        c("The call.", call(1, 0, "read")),
        gets("It runs.", ["ready", 1, BOOT, "read", []]),
        answers("A map.", ["value", 1, {"rows": [1]}]),
        s("The map.", [17, 1, 0, {"rows": [1]}]),
        hears("The map.", ["returned", 1, "value", {"rows": [1]}]),
        asks(
            "Four calls into it.",
            *[
                ["call", question, [1, path], "next", [], 2]
                for question, path in (
                    (2, ["rows", 0]),
                    (3, ["rows", 1]),
                    (4, ["cells"]),
                    (5, ["__class__"]),
                )
            ],
        ),
        c(
            "In one flight.",
            call(2, [1, ["rows", 0]], "next", flags=2),
            call(3, [1, ["rows", 1]], "next", flags=2),
            call(4, [1, ["cells"]], "next", flags=2),
            call(5, [1, ["__class__"]], "next", flags=2),
        ),
        s(
            "No call started.",
            [17, 2, 2, [4, 0, "", ""]],
            [17, 3, 2, [1, 0, "", ""]],
            [17, 4, 2, [1, 0, "", ""]],
            [17, 5, 2, [1, 0, "", ""]],
        ),
        hears(
            "No call started.",
            ["returned", 2, "error", 4, 0],
            ["returned", 3, "error", 1, 0],
            ["returned", 4, "error", 1, 0],
            ["returned", 5, "error", 1, 0],
        ),
    ),
    session(
        "A result longer than `accept_bytes` is `limit`, processed yes.",
        *GREETED,
        asks("At most 5 bytes.", ["call", 1, 0, "read", [], 2, 5]),
        c("The call.", call(1, 0, "read", flags=2, accept=5)),
        gets("It runs.", ["ready", 1, BOOT, "read", []]),
        answers("A text too long for that.", ["value", 1, "abc"]),
        s("Processed: yes.", [17, 1, 2, [7, 2, "", ""]]),
        hears("It had its effect.", ["returned", 1, "error", 7, 2]),
    ),
    session(
        "A path of 17 steps is answered `limit`, and so is a promised argument with one.",
        *GREETED,
        c(
            "Two calls.",
            call(1, 0, "read"),
            call(2, [1, [0] * 17], "next", flags=2),
            call(3, 0, "next", Promised([1, [0] * 17]), flags=2),
        ),
        gets("The first runs.", ["ready", 1, BOOT, "read", []]),
        answers("Null.", ["value", 1, None]),
        s(
            "The refusals are the first to leave.",
            [17, 2, 2, [7, 0, "", ""]],
            [17, 3, 2, [7, 0, "", ""]],
            [17, 1, 0, None],
        ),
        plays=["subject"],
    ),
]


def long_token() -> Step:
    """A PRESENT of 32,769 bytes; written in parts, because it is long."""
    token: list[Part] = ["00008007930101c58001", {"repeat": "00", "times": 32_769}]
    return {"from": "controller", "words": "PRESENT.", "hex": token}


def overload() -> dict[str, Any]:
    waiting = [call(number, [1, []], "n", flags=2) for number in range(2, 1027)]
    return session(
        "1,025 calls wait for one answer: the last is `overloaded`, and the others are not.",
        *GREETED,
        c("The answer that they wait for.", call(1, 0, "slow")),
        gets("It runs.", ["ready", 1, BOOT, "slow", []]),
        {"from": "controller", "words": "1,025 calls on it.", "hex": framed(*waiting).hex()},
        s("At once.", [17, 1026, 2, [8, 0, "", ""]]),
        plays=["subject"],
    )


def ungranted() -> dict[str, Any]:
    """A megabyte is the most that may come before a grant has verified."""

    def present(question: int) -> list[Part]:
        size = 250_000
        head = (size + 8).to_bytes(4, "big").hex() + f"9301{question:02x}c6{size:08x}"
        return [head, {"repeat": "00", "times": size}]

    four = [part for question in range(1, 5) for part in present(question)]
    return wronged(
        "subject",
        "More than 1,048,576 bytes before any grant has verified.",
        "ABORT 4.",
        {"from": "controller", "words": "Four tokens of 250,000 bytes.", "hex": four},
        s("Each is too long.", *[[17, question, 2, [7, 0, "", ""]] for question in range(1, 5)]),
        {"from": "controller", "words": "And a fifth.", "hex": present(5)},
        code=4,
    )


OVERLOADED = [
    overload(),
    ungranted(),
    session(
        "A token of 32,769 bytes is answered `limit`.",
        *GREETED,
        long_token(),
        s("Processed: no.", [17, 1, 2, [7, 0, "", ""]]),
        plays=["subject"],
    ),
]

STREAM_OPEN = (
    *GREETED,
    asks("Read a file, four bytes of it to begin with.", ["call", 1, 0, "file", [], 0, 4]),
    c("The credit is in the call.", call(1, 0, "file", accept=4)),
)
STREAM_RUNS = (
    *STREAM_OPEN,
    gets("It runs.", ["ready", 1, BOOT, "file", []]),
    answers("A header, then ten bytes.", ["stream", 1, {"size": 10}], ["offer", 1, b"0123456789"]),
    s("Four bytes leave.", [17, 1, 3, {"size": 10}], [0xC1, 1, b"0123"]),
    hears(
        "The header and the first bytes.",
        ["returned", 1, "stream", {"size": 10}],
        ["chunk", 1, b"0123"],
    ),
)

CUT = ["ended", 1, [11, 1]]

STREAMS = [
    session(
        "A stream: the credit of the call, then more of it, then the end.",
        *STREAM_RUNS,
        asks("More.", ["credit", 1, 100]),
        c("CREDIT.", [5, 1, 100]),
        s("The rest.", [0xC1, 1, b"456789"]),
        hears("The rest.", ["chunk", 1, b"456789"]),
        answers("That was all.", ["end", 1, None]),
        s("END.", [20, 1, None]),
        hears("Complete.", ["ended", 1, None]),
        asks("Not needed any more.", ["finish", 1]),
        c("FINISH.", [3, [1]]),
    ),
    session(
        "A stream that is cut short says why.",
        *STREAM_RUNS,
        answers("The disk is gone.", ["end", 1, [13, 1]]),
        s("END with an error; what was not sent never is.", [20, 1, [13, 1, "", ""]]),
        hears("Not complete.", ["ended", 1, [13, 1]]),
    ),
    session(
        "FINISH cancels a stream; what it sends after that is nothing.",
        *STREAM_RUNS,
        asks("Enough; is anybody there?", ["ping", 1], ["finish", 1]),
        c("FINISH leaves last.", [6, 1], [3, [1]]),
        gets("Stop.", ["cancelled", 1]),
        answers("It stops.", ["end", 1, [10, 1]]),
        s("Only the PONG.", [21, 1]),
        hears("Alive.", ["ponged", 1]),
    ),
    session(
        "Chunks and an END that cross the FINISH are ignored.",
        *STREAM_RUNS,
        asks("Enough.", ["finish", 1]),
        c("FINISH.", [3, [1]]),
        s("They were on their way.", [0xC1, 1, b"4"], [20, 1, None], [18, 1]),
        hears("Only the GOAWAY after them.", ["going_away", 1]),
        plays=["controller"],
    ),
    session(
        "A stream with no credit sends its header alone; an empty one ends without a CHUNK.",
        *GREETED,
        asks(
            "Only the header.", ["call", 1, 0, "file", [], 0, 0], ["call", 2, 0, "file", [], 0, 9]
        ),
        c("Two calls.", call(1, 0, "file", accept=0), call(2, 0, "file", accept=9)),
        gets("Both run.", ["ready", 1, BOOT, "file", []], ["ready", 2, BOOT, "file", []]),
        answers(
            "One has bytes, the other has none.",
            ["stream", 1, None],
            ["offer", 1, b"abc"],
            ["stream", 2, None],
            ["end", 2, None],
        ),
        s("Not one byte.", [17, 1, 3, None], [17, 2, 3, None], [20, 2, None]),
        hears(
            "As it came.",
            ["returned", 1, "stream", None],
            ["returned", 2, "stream", None],
            ["ended", 2, None],
        ),
    ),
    wronged(
        "controller",
        "A CHUNK of one byte more than the credit.",
        "Credit is a promise.",
        *STREAM_OPEN,
        s("Five bytes.", [17, 1, 3, None], [0xC1, 1, b"01234"]),
        first=[["returned", 1, "stream", None], CUT],
        greeted=False,
    ),
    wronged(
        "controller",
        "A CHUNK after the credit is used up.",
        "Credit is a promise.",
        *STREAM_RUNS,
        s("One byte more.", [0xC1, 1, b"4"]),
        first=[CUT],
        greeted=False,
    ),
    wronged(
        "controller",
        "A CHUNK before the RETURN.",
        "No stream is open.",
        *STREAM_OPEN,
        s("Too early.", [0xC1, 1, b"0"]),
        first=[["returned", 1, "error", 11, 1]],
        greeted=False,
    ),
    wronged(
        "controller",
        "A CHUNK after the END.",
        "The stream is over.",
        *STREAM_RUNS,
        s("END, and then more.", [20, 1, None], [0xC1, 1, b"4"]),
        first=[["ended", 1, None]],
        greeted=False,
    ),
    wronged(
        "controller",
        "A second END.",
        "The stream is over.",
        *STREAM_RUNS,
        s("Twice.", [20, 1, None], [20, 1, None]),
        first=[["ended", 1, None]],
        greeted=False,
    ),
    wronged(
        "controller",
        "An END for a question whose answer is a value.",
        "It is no stream.",
        *GREETED,
        asks("Ask.", ["call", 1, 0, "read", [], 0]),
        c("The call.", call(1, 0, "read")),
        s("A value, and its end.", [17, 1, 0, 5], [20, 1, None]),
        first=[["returned", 1, "value", 5]],
        greeted=False,
    ),
    wronged(
        "controller",
        "A CHUNK for a question that was never asked.",
        "Nobody asked.",
        s("Question 1.", [0xC1, 1, b"0"]),
    ),
    session(
        "CREDIT for a stream that is over is late, and ignored.",
        *GREETED,
        c("A call.", call(1, 0, "file", accept=9)),
        gets("It runs.", ["ready", 1, BOOT, "file", []]),
        answers("Three bytes.", ["stream", 1, None], ["offer", 1, b"abc"]),
        s("All of it.", [17, 1, 3, None], [0xC1, 1, b"abc"]),
        answers("That was all.", ["end", 1, None]),
        s("END.", [20, 1, None]),
        c("CREDIT, FINISH, CREDIT, PING.", [5, 1, 1], [3, [1]], [5, 1, 1], [6, 2]),
        s("PONG: nothing is wrong.", [21, 2]),
        plays=["subject"],
    ),
]

ENDINGS = [
    session(
        "PING is answered with its number, before anything slow.",
        *GREETED,
        asks(
            "A slow call, and two PINGs.", ["call", 1, 0, "slow", [], 0], ["ping", 1], ["ping", 2]
        ),
        c("In one flight.", call(1, 0, "slow"), [6, 1], [6, 2]),
        gets("It runs.", ["ready", 1, BOOT, "slow", []]),
        s("In their order.", [21, 1], [21, 2]),
        hears("Alive.", ["ponged", 1], ["ponged", 2]),
    ),
    session(
        "GOAWAY 1: question 1 is still answered; question 2 is ignored, and so is its FINISH.",
        *GREETED,
        c("A call.", call(1, 0, "slow")),
        gets("It runs.", ["ready", 1, BOOT, "slow", []]),
        answers("The subject goes away.", ["go_away"]),
        s("GOAWAY.", [18, 1]),
        c("This crossed it.", call(2, 0, "read"), [3, [2]], call(3, [2, []], "next"), [6, 1]),
        answers("The first one is done.", ["value", 1, "done"]),
        s("PONG and one RETURN.", [21, 1], [17, 1, 0, "done"]),
        plays=["subject"],
    ),
    session(
        "GOAWAY 1: the controller ends question 2 with processed no, and still gets the first.",
        *GREETED,
        asks("Two calls.", ["call", 1, 0, "slow", [], 0], ["call", 2, 0, "read", [], 0]),
        c("In one flight.", call(1, 0, "slow"), call(2, 0, "read")),
        s("GOAWAY.", [18, 1]),
        hears(
            "The second may be asked elsewhere.", ["returned", 2, "error", 11, 0], ["going_away", 1]
        ),
        s("The first is done.", [17, 1, 0, "done"]),
        hears("It came.", ["returned", 1, "value", "done"]),
        plays=["controller"],
    ),
    session(
        "ABORT by the controller: the subject stops what runs and says nothing more.",
        *GREETED,
        asks("A call.", ["call", 1, 0, "slow", [], 0]),
        c("The call.", call(1, 0, "slow")),
        gets("It runs.", ["ready", 1, BOOT, "slow", []]),
        asks("Enough.", ["abort", 3, "closing"]),
        c("ABORT.", [7, 3, "closing"]),
        hears(
            "The question may have had an effect.",
            ["returned", 1, "error", 11, 1],
            ["aborted", 3, "by us"],
        ),
        gets("Stop.", ["cancelled", 1], ["aborted", 3, "by the peer"]),
    ),
    session(
        "ABORT by the subject ends every question.",
        *GREETED,
        asks("A call.", ["call", 1, 0, "slow", [], 0]),
        c("The call.", call(1, 0, "slow")),
        s("ABORT with a code of a later version, and a frame after it.", [19, 99, "gone"], [21, 1]),
        hears(
            "The question may have had an effect.",
            ["returned", 1, "error", 11, 1],
            ["aborted", 99, "by the peer"],
        ),
        plays=["controller"],
    ),
]

ASKED = (asks("Ask.", ["call", 1, 0, "read", [], 0]), c("The call.", call(1, 0, "read")))
LOST = ["returned", 1, "error", 11, 1]


def header(by: str, words: str, hexed: str) -> Step:
    """The length of a frame, and nothing after it."""
    return {"from": by, "words": words, "hex": hexed}


VIOLATIONS = [
    *(
        wronged(
            side,
            f"A header that announces {size}: refused before the body comes.",
            "Too long.",
            header(by, "Only the header.", hexed),
        )
        for side, by in (("subject", "controller"), ("controller", "subject"))
        for size, hexed in (("262,145 bytes", "00040001"), ("4 GiB", "ffffffff"))
    ),
    wronged(
        "subject",
        "No version that the subject speaks.",
        "ABORT 2.",
        c("HELLO.", [0, [7, 8], {}, []]),
        greeted=False,
        code=2,
    ),
    wronged(
        "subject",
        "A CALL before the HELLO.",
        "HELLO comes first.",
        c("CALL.", call(1, 0, "read")),
        greeted=False,
    ),
    wronged(
        "subject",
        "A PING before the HELLO.",
        "HELLO comes first.",
        c("PING.", [6, 1]),
        greeted=False,
    ),
    wronged("subject", "A second HELLO.", "HELLO is said once.", c("Again.", HELLO_C)),
    wronged(
        "subject",
        "A HELLO that lowers a limit.",
        "A HELLO can only raise.",
        c("HELLO.", [0, [1], {"exports": 1}, []]),
        greeted=False,
    ),
    *(
        wronged(
            "subject", words, "Nobody was asked that, or nothing was given.", c("The frame.", frame)
        )
        for words, frame in (
            ("FINISH of a question that was never asked.", [3, [1]]),
            ("RELEASE of a reference that was never given.", [4, [1]]),
            ("A CALL on a reference that was never given.", call(1, 1, "read")),
            ("CREDIT for a question that was never asked.", [5, 1, 1]),
            ("A CALL on its own answer.", call(1, [1, []], "read")),
            ("A CALL on the answer of a later question.", call(1, [2, []], "read")),
            (
                "An argument that names the call's own answer.",
                call(1, 0, "read", Promised([1, []])),
            ),
            ("An argument that names a later answer.", call(1, 0, "read", [Promised([9, []])])),
            (
                "An argument that names a reference that was never given.",
                call(1, 0, "r", Promised(5)),
            ),
        )
    ),
    wronged(
        "subject",
        "The same question id twice.",
        "Ids only increase.",
        c("Two calls.", call(1, 0, "read"), call(1, 0, "read")),
        first=[["ready", 1, BOOT, "read", []], ["cancelled", 1]],
    ),
    wronged(
        "subject",
        "A question id below the last.",
        "Ids only increase.",
        c("Two calls.", call(5, 0, "read"), call(4, 0, "read")),
        first=[["ready", 5, BOOT, "read", []], ["cancelled", 5]],
    ),
    wronged(
        "controller",
        "A RETURN before the HELLO.",
        "HELLO comes first.",
        asks("Ask.", ["call", 1, 0, "read", [], 0]),
        c("HELLO and a call.", HELLO_C, call(1, 0, "read")),
        s("RETURN.", [17, 1, 0, 5]),
        first=[LOST],
        greeted=False,
    ),
    wronged("controller", "A second HELLO.", "HELLO is said once.", s("Again.", HELLO_S)),
    wronged(
        "controller",
        "A version that was not offered.",
        "Version 2.",
        c("HELLO.", HELLO_C),
        s("HELLO.", [16, 2, {}, [], ARCHIVE_ID, ARCHIVE_TIME]),
        greeted=False,
    ),
    wronged(
        "controller",
        "A HELLO that lowers a limit.",
        "A HELLO can only raise.",
        c("HELLO.", HELLO_C),
        s("HELLO.", [16, 1, {"exports": 1}, [], ARCHIVE_ID, ARCHIVE_TIME]),
        greeted=False,
    ),
    wronged(
        "controller",
        "A RETURN for a question that was never asked.",
        "Nobody asked.",
        s("RETURN.", [17, 1, 0, None]),
    ),
    wronged(
        "controller",
        "A second RETURN for a question that is not finished.",
        "Exactly one.",
        *ASKED,
        s("Twice.", [17, 1, 0, 5], [17, 1, 0, 6]),
        first=[["returned", 1, "value", 5]],
    ),
    wronged(
        "controller",
        "A second RETURN, this time of a stream.",
        "Exactly one.",
        *ASKED,
        s("Twice.", [17, 1, 0, 5], [17, 1, 3, None]),
        first=[["returned", 1, "value", 5]],
    ),
    wronged(
        "controller",
        "A reference id that does not increase.",
        "Each is new, and higher.",
        asks("Two calls.", ["call", 1, 0, "room", [], 0], ["call", 2, 0, "room", [], 0]),
        c("Both.", call(1, 0, "room"), call(2, 0, "room")),
        s("Reference 4, and 4 again.", [17, 1, 1, 4], [17, 2, 1, 4]),
        first=[
            ["returned", 1, "reference", 4],
            ["returned", 2, "error", 11, 1],
        ],
    ),
    wronged("controller", "A PONG without a PING.", "Nobody asked.", s("PONG.", [21, 1])),
]

SESSIONS = [
    *ORDINARY,
    *FINISHING,
    *FAILING,
    *OVERLOADED,
    *STREAMS,
    *ENDINGS,
    *VIOLATIONS,
]
