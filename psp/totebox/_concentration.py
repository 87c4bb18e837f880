"""Sums that are nearly one subject's: the (n, k) dominance rule and the p % rule.

Source: Hundepool et al., "Handbook on Statistical Disclosure Control", section 4.2, whose table of
sensitivity rules names them so. Contributions of one subject are one contribution (its "holdings"),
and of negative ones the size counts. These rules depend on the figures themselves, and a refusal by
them says something of the figures: so an owner has to ask for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from psp.errors import ArchiveError

Contribution: TypeAlias = "int | float"

LARGEST_MAX: Final = 10
"""The n of the dominance rule: coalitions of more than a few are a floor's business."""


@dataclass(frozen=True, slots=True)
class Concentration:
    """An owner's rules for sums.

    Attributes:
        largest, percent: A sum is hidden where its n largest contributions are more than k % of it;
            0 for no such rule.
        p_percent: A sum is hidden where the second largest contributor could tell the largest one
            to within p %; 0 for no such rule.
    """

    largest: int = 0
    percent: int = 0
    p_percent: int = 0

    def __post_init__(self) -> None:
        has_pair = 1 <= self.largest <= LARGEST_MAX and 1 <= self.percent <= 99
        if not has_pair and (self.largest or self.percent):
            raise ArchiveError(
                f"the dominance rule ({self.largest}, {self.percent}) was set; its n is 1 to"
                f" {LARGEST_MAX}, and its k is 1 to 99 percent. (1, 80) is usual."
            )
        if not 0 <= self.p_percent <= 100:
            raise ArchiveError(
                f"the p % rule was set to {self.p_percent}; p is 1 to 100, and 0 for no rule."
            )

    @property
    def is_set(self) -> bool:
        return bool(self.largest or self.p_percent)

    def hides(self, contributions: Sequence[Contribution]) -> bool:
        """Say whether a sum of these, one for each subject, is to be hidden."""
        sizes = sorted(map(abs, contributions), reverse=True)
        total = sum(sizes)
        if self.largest and 100 * sum(sizes[: self.largest]) > self.percent * total:
            return True
        rest = total - sum(sizes[:2])
        return bool(self.p_percent and sizes and 100 * rest < self.p_percent * sizes[0])
