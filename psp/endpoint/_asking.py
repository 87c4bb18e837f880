"""What promises need of their connection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from psp.buffers import Buffers, Share
from psp.rpc import ExportId, QuestionId, Target

from ._address import Address
from ._incoming import Landing

if TYPE_CHECKING:
    from ._promise import Argument, Result


@dataclass(slots=True)
class Local:
    """How results are handed over on this machine.

    Attributes:
        runtime: Our own directory for it; None for never.
        taken: How many were.
        refused: Why the last one that was offered was not; empty if it was, or none was offered.
    """

    runtime: Path | None
    taken: int = 0
    refused: str = ""


class Asking(Protocol):
    """What promises need of their connection."""

    def call(
        self,
        target: Target,
        method: str,
        arguments: tuple[Argument, ...],
        timeout_s: float | None,
        is_last: bool,
        is_step: bool,
        accept_bytes: int,
        invocation: bytes | None,
    ) -> Result[Any]: ...

    def send_before_wait(self) -> None: ...

    def give_up(self, answer: Result[Any]) -> None: ...

    def land(self, question: QuestionId, target: Landing | None = None) -> None: ...

    def share(self, buffers: Buffers) -> Share: ...

    address: Address
    local: Local

    def drop_answer(self, question: QuestionId) -> None: ...

    def release(self, export: ExportId) -> None: ...

    def drop_reference(self, export: ExportId) -> None: ...
