"""What our subject exposes in a benchmark."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import trio

from psp.endpoint import Exposed, method
from psp.values import Value

BLOCK: Final = bytes(1024 * 1024)


def answer_of(plan: list[Value]) -> Mapping[str, Value]:
    """Give an answer of the size of a real one."""
    return {"count": len(plan), "as_of": 1, "root": bytes(32)}


class Null(Exposed):
    """What a paired machine sees without a grant: nothing."""


class Node(Exposed):
    """What the grant of a benchmark shows."""

    def __init__(self) -> None:
        self._gate = trio.Event()

    @method
    def null(self) -> None: ...

    @method
    async def null_async(self) -> None: ...

    @method
    async def hold(self) -> None:
        """Be outstanding until `let_go`."""
        await self._gate.wait()

    @method
    def let_go(self) -> None:
        self._gate.set()
        self._gate = trio.Event()

    @method
    async def bulk(self) -> AsyncIterator[bytes]:
        """A result without end."""
        while True:
            yield BLOCK

    @method
    def query(self, plan: list[Value]) -> Mapping[str, Value]:
        return answer_of(plan)

    @method
    def one(self) -> Node:
        return Node()

    @method
    def two(self) -> Node:
        return Node()

    @method
    def three(self) -> Node:
        return Node()

    @method
    def four(self) -> Node:
        return Node()

    @method
    def five(self) -> Node:
        return Node()

    @method
    def six(self) -> Node:
        return Node()

    @method
    def seven(self) -> Node:
        return Node()

    @method
    def eight(self) -> Node:
        return Node()

    @method
    def nine(self) -> Node:
        return Node()

    @method
    def ten(self) -> int:
        return 10
