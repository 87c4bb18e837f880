"""Ids that cannot be confused: mypy tells ours from the peer's, at no cost at run time."""

from __future__ import annotations

from typing import Final, NewType, TypeAlias

QuestionId = NewType("QuestionId", int)
"""We asked. The peer calls it an answer."""

AnswerId = NewType("AnswerId", int)
"""The peer asked. The peer calls it a question."""

ExportId = NewType("ExportId", int)
"""An object of the subject. Both sides use the same number; it is given out once, released once."""

BOOTSTRAP: Final = ExportId(0)
"""The object every connection starts with. It is never released."""

Path: TypeAlias = tuple[str | int, ...]
"""Steps from an answer into its value: map keys and list indexes."""

Target: TypeAlias = ExportId | tuple[QuestionId, Path]
"""What a call is made on: a reference, or a path into the answer of an earlier question."""
