"""Two cores and the bytes between them: no socket, no task, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from psp.rpc import Controller, ControllerEvent, Subject, SubjectEvent

ARCHIVE_ID: Final = bytes(range(32))
ARCHIVE_TIME: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def _subject() -> Subject:
    return Subject(ARCHIVE_ID, bootstrap="bootstrap")


@dataclass
class Pair:
    """A controller and a subject, joined by hand.

    Attributes:
        controller: Asks.
        subject: Answers; its bootstrap object is the text "bootstrap" unless another is given.
    """

    controller: Controller = field(default_factory=Controller)
    subject: Subject = field(default_factory=_subject)

    def __post_init__(self) -> None:
        self.subject.hello(ARCHIVE_TIME)

    def carry_to_subject(self) -> list[SubjectEvent]:
        """Let everything the controller has written arrive."""
        return list(self.subject.receive(self.controller.data_to_send()))

    def carry_to_controller(self) -> list[ControllerEvent]:
        """Let everything the subject has written arrive."""
        return list(self.controller.receive(self.subject.data_to_send()))

    def greet(self) -> None:
        """Exchange the HELLOs."""
        self.carry_to_subject()
        self.carry_to_controller()

    def cut(self) -> tuple[list[ControllerEvent], list[SubjectEvent]]:
        """End the connection; what was written and not carried is lost."""
        return self.controller.receive_eof(), self.subject.receive_eof()
