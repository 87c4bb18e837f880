"""Which earlier states may be asked for."""

from __future__ import annotations

from psp.errors import Denied, Invalid
from psp.plan import Plan


def check_as_of(plan: Plan, tree_size: int, floor: int, same_since: int) -> int:
    """Give the tree size at which a plan is answered.

    Every entry makes a state, and two answers differ by what lies between theirs: a correction of
    one row, asked for before and after, is that row. No floor on each answer hides it, so where a
    floor stands there is only the release point: it, and states with the very same rows.

    Args:
        tree_size: The newest state that may be shown.
        same_since: The first one with the same rows.

    Raises:
        Invalid: The ledger has not had that size yet, or it is zero.
        Denied: A floor forbids it.
    """
    if plan.as_of is None:
        return tree_size
    if not 0 < plan.as_of <= tree_size:
        raise Invalid(
            f"the state {plan.as_of} of this ledger was asked for; it has 1 to {tree_size}."
        )
    if floor > 1 and plan.as_of < same_since:
        raise Denied(
            f"earlier states are not shown where fewer than {floor} subjects are hidden: the"
            " difference of two states would show them. Leave the tree size out."
        )
    return plan.as_of
