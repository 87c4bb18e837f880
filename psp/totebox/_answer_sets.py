"""An answer on its way, as sets of rows: what the account is asked about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psp.plan import Measure

from ._disclosure import Cell, Decision, Key, Rule, Withheld, fold
from ._groups import Groups, StoredKey
from ._history_file import RowsDisagree
from ._published import Sets
from ._query_sets import Reveals


@dataclass(frozen=True, slots=True)
class AnswerSets:
    """An answer on its way, as sets of rows."""

    groups: Groups
    keys: dict[Key, StoredKey]
    sets: Sets


def to_fold(answer: AnswerSets, shown: Sequence[Cell], told: Reveals) -> Key | None:
    """Choose the group to hide: the smallest that holds some of what would be told of."""
    groups = told.touched(answer.groups.codes)
    if not groups:
        return None
    touched = {answer.groups.keys[group] for group in groups}
    holding = [cell for cell in shown if answer.keys[cell.key] in touched]
    # All of it hidden already: then what is hidden has to grow.
    chosen = holding or shown
    if not chosen:
        return None
    return min(chosen, key=lambda cell: cell.rows).key


def check_rows(answer: AnswerSets, cells: Sequence[Cell]) -> None:
    ours = dict(zip(answer.groups.keys, answer.groups.counts, strict=True))
    theirs = {answer.keys.get(cell.key): sum(part.rows for part in cell.parts) for cell in cells}
    if ours != theirs:
        raise RowsDisagree("the engine and the audit of answers count different rows")


def left(decision: Decision, folded: Mapping[Key, Rule]) -> set[Key]:
    return {cell.key for cell in decision.shown}.difference(folded)


def fold_all(
    decision: Decision, folded: Mapping[Key, Rule], measures: Sequence[Measure]
) -> Decision:
    for cell in decision.shown:
        if cell.key in folded:
            decision = fold(decision, cell.key, measures, folded[cell.key])
    return decision


def reveals(floor: int) -> Withheld:
    return Withheld.by(
        Rule.HISTORY,
        f"with earlier answers this one would tell of fewer than {floor} subjects; ask a coarser"
        " question, or the same one as before",
    )
