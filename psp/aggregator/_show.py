"""A view, asked: what people read from the combined answer, as plain values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from psp.errors import QuestionError
from psp.values import Value, to_text

from ._answer import Answer, plain
from ._outcome import absent_to_dict
from ._reply import Part
from ._view_file import View


def show(view: View, answer: Answer, *, before: Answer | None = None) -> dict[str, Any]:
    """Give the plain form of a view, ready for JSON and for a console.

    Args:
        before: The same view at an earlier state: each figure then has its change beside it.

    Raises:
        QuestionError: The figures of the members do not combine.
    """
    by_member: defaultdict[str, list[Part]] = defaultdict(list)
    for part in answer.parts:
        by_member[part.member].append(part)
    earlier = {} if before is None else _totals_by_member(before)
    members = [
        {
            "member": name,
            "label": answer.members[name].label if name in answer.members else name,
            "figures": _figures(view, answer, parts),
            "hidden": sum(entry.cells for entry in answer.withheld if entry.member == name),
            **({"before": earlier.get(name)} if before else {}),
        }
        for name, parts in sorted(by_member.items())
    ]
    return {
        "title": view.title,
        "kind": view.kind,
        "columns": _columns(view),
        "groups_by": [output.name for output in view.question.outputs if output.kind == "group"],
        "asked_at": to_text(answer.asked_at),
        "as_of": answer.as_of,
        "members_asked": len(answer.leaves),
        "states": answer.states,
        "absent": absent_to_dict(answer.leaves),
        "partial": bool(answer.absent),
        "total": _figures(view, answer, answer.parts),
        **({"total_before": _figures(view, before, before.parts)} if before else {}),
        "over": over(answer),
        "groups": _groups(view, answer),
        "members": members,
        "exceptions": _exceptions(view, answer, by_member),
        "withheld": [
            {
                "member": entry.member,
                "group": [plain(value) for value in entry.key] if entry.key else None,
                "cells": entry.cells,
                "words": entry.words_for(view.subjects),
            }
            for entry in answer.withheld
        ],
        **({"terms": terms} if (terms := view.terms.to_dict()) else {}),
    }


def over(answer: Answer) -> dict[str, int]:
    """Over how many members the totals go, and how many were asked."""
    # What a member hides cell by cell is in its sum over the hidden ones, and so in the total.
    return {"members": len(answer.leaves) - len(answer.absent), "of": len(answer.leaves)}


def why(view: View, answer: Answer, column: str, group: Sequence[str]) -> dict[str, Any]:
    """Say what one figure is made of: each member's part, its state, and what is hidden.

    Args:
        column: A measure or derived measure of the view.
        group: The group's values as text, in the view's order; empty for the total.

    Raises:
        QuestionError: The view has no such figure or group.
    """
    if column not in (columns := _columns(view)):
        raise QuestionError(f"the view has no figure {column!r}; it has {', '.join(columns)}.")
    wanted = tuple(group)
    parts: defaultdict[str, list[Part]] = defaultdict(list)
    for part in answer.parts:
        texts = None if part.key is None else tuple(to_text(value) for value in part.key)
        if not wanted or texts == wanted:
            parts[part.member].append(part)
    if not parts:
        raise QuestionError(
            f"the view has no group {', '.join(wanted)}; the groups are in its first column."
        )
    every = [part for found in parts.values() for part in found]
    measures = [measure.name for measure in view.question.plan.measures]
    return {
        "column": column,
        "group": list(wanted),
        "figure": _figures(view, answer, every)[column],
        "made_of": measures,
        "parts": [
            {
                "member": name,
                "figure": _figures(view, answer, found)[column],
                "as_of": answer.as_of.get(name),
            }
            for name, found in sorted(parts.items())
        ],
        "absent": absent_to_dict(answer.leaves),
        "hidden": [
            {"member": entry.member, "words": entry.words_for(view.subjects)}
            for entry in answer.withheld
            if entry.key is None or tuple(to_text(value) for value in entry.key) == wanted
        ],
    }


def _columns(view: View) -> list[str]:
    return [output.name for output in view.question.outputs if output.kind != "group"]


def _figures(view: View, answer: Answer, parts: Sequence[Part]) -> dict[str, Any]:
    total = answer.total(parts)
    return {name: plain(total[name]) for name in _columns(view)}


def _totals_by_member(answer: Answer) -> dict[str, dict[str, Any]]:
    found: defaultdict[str, list[Part]] = defaultdict(list)
    for part in answer.parts:
        found[part.member].append(part)
    names = [output.name for output in answer.question.outputs if output.kind != "group"]
    return {
        member: {name: plain(total[name]) for name in names}
        for member, parts in found.items()
        if (total := answer.total(parts))
    }


def _groups(view: View, answer: Answer) -> list[dict[str, Any]]:
    if not view.question.plan.group:
        return []
    parts: defaultdict[tuple[Value, ...] | None, list[Part]] = defaultdict(list)
    for part in answer.parts:
        parts[part.key].append(part)
    answered = sum(leaf.reply is not None for leaf in answer.outcomes)
    groups = [
        {
            "key": None if key is None else [plain(value) for value in key],
            "id": None if key is None else [None if it is None else to_text(it) for it in key],
            "figures": _figures(view, answer, found),
            "members": len({part.member for part in found}),
            "of": answered,
        }
        for key, found in parts.items()
    ]
    # The one that holds what is hidden comes last; a null sorts before any text.
    return sorted(groups, key=lambda each: (each["key"] is None, str(each["key"])))


def _exceptions(
    view: View, answer: Answer, by_member: Mapping[str, Sequence[Part]]
) -> list[dict[str, Any]]:
    """Who is missing, then whose figures are beyond a threshold; what is worse stands first."""
    missing = [
        {
            "member": entry["member"],
            "severity": "high",
            "sentence": f"{entry['member']} is {entry['state']}: {entry['cause']}",
        }
        for entry in absent_to_dict(answer.leaves)
    ]
    crossed = [
        {
            "member": member,
            "severity": threshold.severity,
            "sentence": f"{member}: {threshold.sentence} ({threshold.column} {to_text(figure)})",
        }
        for threshold in view.thresholds
        for member, parts in sorted(by_member.items())
        if threshold.is_crossed(figure := answer.total(parts)[threshold.column])
    ]
    return sorted(missing + crossed, key=lambda each: each["severity"] != "high")
