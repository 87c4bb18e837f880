"""The tables of docs/protocol.md, made from the code's own: they cannot disagree.

`python -m psp.rpc._document < docs/protocol.md` writes the text with its tables as they must be; a
test compares it with the file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from psp.errors import CALL_FAILURES
from psp.wire import (
    ACCEPT_BYTES_DEFAULT,
    BODY_BYTES_MAX,
    CHUNK_BYTES_MAX,
    CHUNK_BYTES_SHARED,
    CORRELATION_CHARACTERS_MAX,
    DEPTH_MAX,
    FRAMES,
    IDS_PER_FRAME_MAX,
    INITIAL_LIMITS,
    INVOCATION_BYTES_MAX,
    LIMIT_REASONS,
    MAP_KEYS_MAX,
    METHOD_CHARACTERS_MAX,
    NODES_MAX,
    PROMISED_BYTES_MAX,
    PROMISED_MAX,
    PROMISED_NODES_MAX,
    REMAINING_MS_MAX,
    TEXT_CHARACTERS_MAX,
    AbortCode,
    Role,
)

from ._answers import ANSWER_TRANSITIONS
from ._questions import QUESTION_TRANSITIONS

_CONSTANTS: Final = {
    "bytes of a body": BODY_BYTES_MAX,
    "raw bytes of a CHUNK": CHUNK_BYTES_MAX,
    "raw bytes of a CHUNK while calls come (a subject's choice)": CHUNK_BYTES_SHARED,
    "containers inside each other": DEPTH_MAX,
    "values and keys in one frame": NODES_MAX,
    "keys of one map": MAP_KEYS_MAX,
    "ids in one FINISH or RELEASE": IDS_PER_FRAME_MAX,
    "promised values in one CALL": PROMISED_MAX,
    "bytes of one promised value": PROMISED_BYTES_MAX,
    "values and keys that these put into one CALL (beyond: `limit`, *no*)": PROMISED_NODES_MAX,
    "characters of a method's name": METHOD_CHARACTERS_MAX,
    "bytes of an invocation": INVOCATION_BYTES_MAX,
    "`remaining_ms`: a day": REMAINING_MS_MAX,
    "`accept_bytes` of a caller who does not choose (a controller's choice)": ACCEPT_BYTES_DEFAULT,
    "characters of a text in an error or ABORT": TEXT_CHARACTERS_MAX,
    "characters of a correlation id": CORRELATION_CHARACTERS_MAX,
}

_BEYOND: Final[Mapping[str, str]] = {
    "calls_in_flight": "`overloaded`, *no*",
    "call_bytes_in_flight": "`overloaded`, *no*",
    "queued_per_answer": "`overloaded`, *no*",
    "answers_retained": "`overloaded`, *no*",
    "retained_bytes": "sent, and not kept",
    "exports": "`overloaded`, *yes*",
    "path_length": "`limit`, *no*",
    "token_bytes": "`limit`, *no*",
    "streams": "`overloaded`, *yes*",
    "grant_calls": "`overloaded`, *no*",
    "grant_exports": "`overloaded`, *yes*",
    "ungranted_bytes": "ABORT 4",
}
assert _BEYOND.keys() == LIMIT_REASONS.keys()

_ABORTS: Final[Mapping[int, str]] = {
    AbortCode.PROTOCOL: "The peer broke this document.",
    AbortCode.VERSION: "None of the versions in HELLO is spoken.",
    AbortCode.CLOSING: "This side closes, for a reason of its own.",
    AbortCode.LIMIT: "The peer was too slow, too silent, or sent too much without a grant.",
}
assert set(_ABORTS) == {code for name, code in vars(AbortCode).items() if name.isupper()}


def _table(heads: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _frames() -> str:
    parts = []
    for role in Role:
        parts.append(f"Sent by the {role.value}:\n")
        rows = (
            (
                shape.kind,
                shape.name,
                "<br>".join(f"`{name}` {field.words}" for name, field in shape.fields),
                shape.says,
            )
            for shape in FRAMES
            if shape.sender is role
        )
        parts.append(_table(("kind", "name", "fields after the kind", "it says"), rows) + "\n")
    return "\n".join(parts).rstrip()


def _errors() -> str:
    rows = (
        (code, f"`{failure.word}`", (failure.__doc__ or "").strip().splitlines()[0])
        for code, failure in sorted(CALL_FAILURES.items())
    )
    return _table(("code", "word", "what the caller can do"), rows)


def _limits() -> str:
    values = INITIAL_LIMITS._asdict()
    rows = (
        (f"`{name}`", f"{values[name]:,}", reason, _BEYOND[name])
        for name, reason in LIMIT_REASONS.items()
    )
    return _table(
        ("limit", "initial", "counts, for each connection", "what goes beyond it is answered"), rows
    )


def _constants() -> str:
    return _table(("what", "at most"), ((what, f"{most:,}") for what, most in _CONSTANTS.items()))


def _aborts() -> str:
    return _table(("code", "it says"), _ABORTS.items())


def _transitions(transitions: Iterable[tuple[tuple[str, str], str]]) -> str:
    rows = ((state, step, following) for (state, step), following in transitions)
    return _table(("state", "what happens", "then"), rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "frames": _frames,
    "errors": _errors,
    "limits": _limits,
    "constants": _constants,
    "aborts": _aborts,
    "questions": lambda: _transitions(QUESTION_TRANSITIONS.items()),
    "answers": lambda: _transitions(ANSWER_TRANSITIONS.items()),
}


def fill(text: str) -> str:
    """Give the document with every `<!-- table NAME -->` … `<!-- end -->` made anew."""

    def made(found: re.Match[str]) -> str:
        return f"<!-- table {found[1]} -->\n{TABLES[found[1]]()}\n<!-- end -->"

    return re.sub(r"<!-- table (\w+) -->\n.*?<!-- end -->", made, text, flags=re.DOTALL)


if __name__ == "__main__":
    sys.stdout.write(fill(sys.stdin.read()))
