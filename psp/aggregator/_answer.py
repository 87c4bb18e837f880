"""What many members answered, combined: rows, who is missing, what is hidden."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from psp.capability import Operation
from psp.endpoint import printable
from psp.errors import QuestionError
from psp.plan import Figure, Question, combine_all, in_key_order
from psp.values import Value, to_text
from psp.values import plain as plain

from ._outcome import Outcome, absent_among, absent_to_dict, count_states
from ._reply import Key, Part, Reply, Withheld, leaves_of
from ._roster import Member
from ._terms import Terms, check_currencies, on_terms

OTHER: Final = "other"
"""Stands where a group's key would: cells that were hidden one by one, shown as one sum."""


@dataclass(frozen=True)
class Answer:
    """One question's combined answer.

    Attributes:
        question: What was asked.
        outcomes: One per member asked.
        members: What is known of them, by name; nothing by default.
        terms: How they are to be brought together: shares, currency, fiscal periods.
    """

    question: Question
    outcomes: tuple[Outcome[Reply], ...]
    asked_at: datetime
    members: Mapping[str, Member] = field(default_factory=dict)
    terms: Terms = field(default_factory=Terms)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Every cell of every member, on the question's terms, not yet combined.

        A fiscal period has one part for each of its months.
        """
        cells = [part for reply in self._replied() for part in reply.parts]
        return tuple(on_terms(cells, self.question.plan, self.members, self.terms))

    @property
    def columns(self) -> list[str]:
        return [output.name for output in self.question.outputs]

    @cached_property
    def rows(self) -> list[Sequence[Value]]:
        """The outputs, a row per group, sorted and cut as the question says."""
        groups: dict[tuple[str | None, Key], list[Part]] = {}
        for part in self.parts:
            if part.key is not None:
                member = part.member if self.question.by_member else None
                groups.setdefault((member, part.key), []).append(part)
        rows = [self._row(member, key, parts) for (member, key), parts in groups.items()]
        return self.question.arrange(in_key_order(rows) if not self.question.order else rows)

    @cached_property
    def other(self) -> Sequence[Value] | None:
        """One row over the cells that are hidden one by one; None if nothing is."""
        parts = [part for part in self.parts if part.key is None]
        key = (OTHER,) * len(self.question.plan.group)
        return self._row(OTHER, key, parts, is_over_all=True) if parts else None

    def total(self, parts: Sequence[Part] | None = None) -> dict[str, Value]:
        """The outputs, by name, over all cells or over some; shown and folded ones together.

        Group columns are null in it, and so is everything if there is no cell.
        """
        chosen = self.parts if parts is None else parts
        if not chosen:
            return dict.fromkeys(self.columns)
        row = self._row(None, (None,) * len(self.question.plan.group), chosen, is_over_all=True)
        return dict(zip(self.columns, row, strict=True))

    @cached_property
    def leaves(self) -> tuple[Outcome[Reply], ...]:
        """One per archive: those below an aggregator stand here by their path, `north/98004`."""
        return tuple(leaves_of(self.outcomes))

    @property
    def states(self) -> dict[str, int]:
        return count_states(self.leaves)

    @property
    def absent(self) -> list[Outcome[Reply]]:
        """The members whose figures are not in here."""
        return absent_among(self.leaves)

    @property
    def as_of(self) -> dict[str, int]:
        """The tree size at which each member answered."""
        return {o.member: o.reply.as_of for o in self.leaves if o.reply is not None}

    @cached_property
    def withheld(self) -> list[Withheld]:
        replies = (leaf.reply for leaf in self.leaves if leaf.reply is not None)
        return [entry for reply in replies for entry in reply.withheld]

    def cells(self) -> list[Part]:
        """The figures of all members combined, before any output is calculated: as they travel.

        Raises:
            QuestionError: As `rows`.
        """
        groups: dict[Key | None, list[Part]] = {}
        for part in self.parts:
            groups.setdefault(part.key, []).append(part)
        return [Part("", key, self._combined(parts)) for key, parts in groups.items()]

    def to_dict(self) -> dict[str, Any]:
        """The plain form, ready for JSON: decimals and dates as text."""
        return {
            "columns": self.columns,
            "kinds": [output.kind for output in self.question.outputs],
            "rows": [[plain(value) for value in row] for row in self.rows],
            "other": [plain(value) for value in self.other] if self.other else None,
            "members_asked": len(self.leaves),
            "states": self.states,
            "as_of": self.as_of,
            "absent": absent_to_dict(self.leaves),
            "withheld": [
                {
                    "member": entry.member,
                    "group": [plain(value) for value in entry.key] if entry.key else None,
                    "cells": entry.cells,
                    "rule": entry.rule,
                    "words": entry.words_for(),
                }
                for entry in self.withheld
            ],
            "partial": bool(self.absent),
            "asked_at": to_text(self.asked_at),
            **({"terms": terms} if (terms := self.terms.to_dict()) else {}),
        }

    def __str__(self) -> str:
        """A table and one line on who answered, for `print`."""
        # Cell by cell: a line end in a member's text must not begin a line of its own.
        lines = [
            [printable(to_text(value)) for value in line] for line in (self.columns, *self.rows)
        ]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = "\n".join(
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in lines
        )
        states = ", ".join(f"{count} {state}" for state, count in self.states.items())
        partial = "; totals are partial" if self.absent else ""
        return f"{table}\n{states}{partial}"

    def _replied(self) -> Iterator[Reply]:
        return (outcome.reply for outcome in self.outcomes if outcome.reply is not None)

    def _row(
        self, member: str | None, key: Key, parts: Sequence[Part], *, is_over_all: bool = False
    ) -> list[Value]:
        return self.question.row(key, self._combined(parts, is_over_all), member=member)

    def _combined(self, parts: Sequence[Part], is_over_all: bool = False) -> list[Figure]:
        # Nobody asked for a row over several cells: what it cannot say is null there, no refusal.
        unknown = Operation.DISTINCT if is_over_all and len(parts) > 1 else None
        measures = self.question.plan.measures
        check_currencies(parts, self.question.plan, self.members, self.terms)
        columns = zip(*(part.figures for part in parts), strict=True)
        try:
            return [
                None if measure.operation is unknown else combine_all(measure.operation, column)
                for measure, column in zip(measures, columns, strict=True)
            ]
        # Nobody here has a schema, so nobody knows which one is wrong.
        except (TypeError, ArithmeticError) as exc:
            raise QuestionError(
                f"the members' figures cannot be combined: {exc}. See each alone: group by member"
            ) from None
