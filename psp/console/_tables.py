"""An answer or a view as plain tables: what is exported, and printed as a report.

Every text is neutralised here; figures become exact numbers or stay away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from ._figures import decimal_or_none
from ._neutral import neutral
from ._view import Json

Cell: TypeAlias = "str | int | Decimal | None"


@dataclass(frozen=True, slots=True)
class Sheet:
    """One table.

    Attributes:
        figures: Which columns hold numbers and nothing else.
    """

    name: str
    columns: tuple[str, ...]
    figures: tuple[bool, ...]
    rows: tuple[tuple[Cell, ...], ...]


def sheets_of(document: Json) -> list[Sheet]:
    """Take an answer or a view apart; the first sheet is what a format of one table gets."""
    if "exceptions" in document:
        return _of_view(document)
    return [_of_reconciliation(document) if "differ" in document else _of_answer(document)]


def _of_answer(answer: Json) -> Sheet:
    rows = [*answer["rows"], *([answer["other"]] if answer.get("other") else [])]
    return _sheet("answer", answer["columns"], [kind != "group" for kind in answer["kinds"]], rows)


def _of_reconciliation(found: Json) -> Sheet:
    left, right = found["left"], found["right"]
    keys = len(left["columns"]) - len(_amounts(found))
    columns = [
        "what",
        *left["columns"][:keys],
        *(f"{left['member']} {name}" for name in left["columns"][keys:]),
        *(f"{right['member']} {name}" for name in right["columns"][keys:]),
        *(f"differs by ({name})" for name in left["columns"][keys:]),
    ]
    nothing = [None] * (len(left["columns"]) - keys)
    rows = [
        *(["differs", *it["key"], *it["left"], *it["right"], *it["by"]] for it in found["differ"]),
        *(
            [f"not in {right['member']}", *it["key"], *it["amount"], *nothing, *nothing]
            for it in found["only_left"]
        ),
        *(
            [f"not in {left['member']}", *it["key"], *nothing, *it["amount"], *nothing]
            for it in found["only_right"]
        ),
    ]
    return _sheet("differences", columns, [False] * (1 + keys) + [True] * 3 * len(nothing), rows)


def _amounts(found: Json) -> Sequence[object]:
    """How many columns are amounts, from any row; with no row there is nothing to lay out."""
    for row in found["differ"]:
        return list(row["left"])
    for row in (*found["only_left"], *found["only_right"]):
        return list(row["amount"])
    return list(found["left"]["columns"][1:])


def _of_view(view: Json) -> list[Sheet]:
    columns, groups_by = [*view["columns"]], [*view["groups_by"]]
    numbers = [True] * len(columns)
    members = _sheet(
        "members",
        ["member", *columns, "cells hidden"],
        [False, *numbers, True],
        [
            [each["label"], *(each["figures"][name] for name in columns), each["hidden"]]
            for each in view["members"]
        ],
    )
    total = _sheet(
        "total",
        [*columns, "members", "of members"],
        [*numbers, True, True],
        [[*map(view["total"].get, columns), view["over"]["members"], view["over"]["of"]]],
    )
    groups = _sheet(
        "groups",
        [*groups_by, *columns, "members", "of members"],
        [*[False] * len(groups_by), *numbers, True, True],
        [
            [
                *(each["key"] or ["other"] * len(groups_by)),
                *(each["figures"][name] for name in columns),
                each["members"],
                each["of"],
            ]
            for each in view["groups"]
        ],
    )
    exceptions = _sheet(
        "exceptions",
        ["severity", "member", "what"],
        [False] * 3,
        [[each["severity"], each["member"], each["sentence"]] for each in view["exceptions"]],
    )
    missing = _sheet(
        "missing",
        ["member", "state", "since", "cause"],
        [False] * 4,
        [[each[key] for key in ("member", "state", "since", "cause")] for each in view["absent"]],
    )
    return [*([groups] if groups_by else []), members, total, exceptions, missing]


def _sheet(
    name: str, columns: Sequence[object], figures: Sequence[bool], rows: Sequence[Sequence[object]]
) -> Sheet:
    return Sheet(
        name,
        tuple(neutral(str(column)) for column in columns),
        tuple(figures),
        tuple(
            tuple(_cell(value, is_figure) for value, is_figure in zip(row, figures, strict=True))
            for row in rows
        ),
    )


def _cell(value: object, is_figure: bool) -> Cell:
    if value is None or not is_figure:
        return None if value is None else neutral(str(value))
    if type(value) is int:
        return value
    figure = decimal_or_none(value)
    return figure if figure is not None else neutral(str(value))
