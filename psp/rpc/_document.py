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
from psp.wire import FRAMES, INITIAL_LIMITS, LIMIT_REASONS, Role

from ._answers import ANSWER_TRANSITIONS
from ._questions import QUESTION_TRANSITIONS


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
    rows = ((f"`{name}`", f"{values[name]:,}", reason) for name, reason in LIMIT_REASONS.items())
    return _table(("limit", "initial", "counts, for each connection"), rows)


def _transitions(transitions: Iterable[tuple[tuple[str, str], str]]) -> str:
    rows = ((state, step, following) for (state, step), following in transitions)
    return _table(("state", "what happens", "then"), rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "frames": _frames,
    "errors": _errors,
    "limits": _limits,
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
