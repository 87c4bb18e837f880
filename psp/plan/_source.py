"""The asker's text, and pointing at a place in it.

sqlglot's trees are looked at by the name of the node's class: the library is optional, so none of
its classes exists when these modules are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, NoReturn

from psp.errors import QuestionError

if TYPE_CHECKING:
    from sqlglot.expressions import Expression as Node


@dataclass(frozen=True, slots=True)
class Source:
    """The text of a question."""

    text: str

    def refuse(self, node: object, sentence: str) -> NoReturn:
        """Raise one sentence with a caret under the place where `node` begins."""
        self.refuse_at(place(node), sentence)

    def refuse_at(self, at: int, sentence: str) -> NoReturn:
        at = min(max(at, 0), len(self.text))
        start = self.text.rfind("\n", 0, at) + 1
        end = self.text.find("\n", at)
        line = self.text[start : len(self.text) if end < 0 else end]
        # Tabs stay tabs under the line, or the caret would stand elsewhere on the screen.
        pad = "".join("\t" if character == "\t" else " " for character in self.text[start:at])
        end_mark = "" if sentence.endswith("?") else "."
        raise QuestionError(f"{sentence}{end_mark}\n  {line}\n  {pad}^")


def place(node: object) -> int:
    """Find where a piece of the tree begins in the text; sqlglot marks only names and literals."""
    walk = getattr(node, "walk", None)
    if walk is None:
        return 0
    return min((each.meta["start"] for each in walk() if "start" in each.meta), default=0)


def class_of(node: Node | None) -> str:
    return type(node).__name__


def bare(node: Node) -> Node:
    """Take an alias and brackets off."""
    while class_of(node) in ("Alias", "Paren"):
        node = node.this
    return node


def conjuncts(node: Node) -> Iterator[Node]:
    """Give the conditions that `and` joins, in the order of the text."""
    pending = [node]
    while pending:
        node = bare(pending.pop())
        if class_of(node) == "And":
            pending += [node.expression, node.this]
        else:
            yield node


def number(text: str) -> int | Decimal:
    return int(text) if text.isdigit() else Decimal(text)
