"""How many members must answer, and when waiting for the others ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from psp.errors import QuestionError


@dataclass(frozen=True, slots=True, kw_only=True)
class Require:
    """What a question's asker holds to be an answer.

        all         every member must answer, or there is no answer
        any         the first answer is enough; the others are not waited for
        quorum      more than half must answer; `quorum:N` for a number of one's own
        deadline    whoever answers within the deadline is in, and the answer says who is not

    Under every one of them a member that is not in is named with its state, and counts nowhere.

    Attributes:
        name: As above.
        least: Members that must answer, where `name` is `quorum` with a number; else 0.
    """

    name: str = "deadline"
    least: int = 0

    @classmethod
    def parse(cls, text: str) -> Require:
        """Read `all`, `any`, `quorum`, `quorum:N` or `deadline`.

        Raises:
            QuestionError: It is none of them.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise QuestionError(
                f"{text!r} was given as what an answer requires, and it is none of all, any,"
                " quorum, quorum:N and deadline. Give one of them."
            )
        return cls(name=found["name"] or "quorum", least=int(found["least"] or 0))

    def least_of(self, members: int) -> int:
        """How many of so many members must answer."""
        return {"all": members, "any": 1, "deadline": 0}.get(
            self.name, self.least or members // 2 + 1
        )

    def is_met(self, answered: int, members: int) -> bool:
        """Whether that many answers are an answer."""
        return answered >= self.least_of(members)

    def is_enough(self, answered: int, members: int) -> bool:
        """Whether nobody else need be waited for."""
        return self.name in ("any", "quorum") and self.is_met(answered, members)

    def __str__(self) -> str:
        return f"{self.name}:{self.least}" if self.least else self.name


_FORM: Final = re.compile(r"(?P<name>all|any|quorum|deadline)|quorum:(?P<least>[1-9][0-9]{0,6})")
