"""The result of a benchmark: one JSON object, or the same as a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from benchmarks._contest import Spread


@dataclass(frozen=True)
class Bar:
    """What a ratio must reach, or must not exceed: one of the two."""

    at_least: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"

    def is_held(self, ratio: float) -> bool:
        if self.at_least is not None:
            return ratio >= self.at_least
        return self.at_most is not None and ratio <= self.at_most

    def to_json(self) -> dict[str, float]:
        if self.at_least is not None:
            return {"at_least": self.at_least}
        assert self.at_most is not None
        return {"at_most": self.at_most}


@dataclass
class Report:
    """What one benchmark has found.

    Attributes:
        ratios: Those that have a bar.
        figures: Everything else, by title; a list of three is a median and its spread.
        limits: What was in force.
    """

    benchmark: str
    bars: Mapping[str, Bar]
    ratios: dict[str, Spread] = field(default_factory=dict)
    figures: dict[str, object] = field(default_factory=dict)
    limits: dict[str, object] = field(default_factory=dict)

    def add(self, key: str, ratio: Spread) -> None:
        """Take a ratio; one without a bar stands beside, among the figures."""
        if key in self.bars:
            self.ratios[key] = ratio
        else:
            self.note("ratios_beside", key, ratio)

    def note(self, title: str, key: str, spread: Spread) -> None:
        """Take a figure under a title."""
        part = self.figures.setdefault(title, {})
        assert isinstance(part, dict)
        part[key] = spread.rounded()

    def to_json(self) -> dict[str, object]:
        rounded = {key: spread.rounded() for key, spread in self.ratios.items()}
        return {
            "benchmark": self.benchmark,
            "ratios": {key: spread.median for key, spread in rounded.items()},
            "figures": {
                "spread": {key: [it.least, it.most] for key, it in rounded.items()},
                **self.figures,
            },
            "limits": {
                "bars": {key: bar.to_json() for key, bar in self.bars.items()},
                **self.limits,
            },
        }


def table(result: Mapping[str, object]) -> str:
    """Write a result so that a person can read it."""
    return "\n".join(_lines(result))


def _lines(result: Mapping[str, object]) -> Iterator[str]:
    ratios, figures, limits = (result[part] for part in ("ratios", "figures", "limits"))
    assert isinstance(ratios, dict)
    assert isinstance(figures, dict)
    assert isinstance(limits, dict)
    spread, bars = figures.get("spread", {}), limits.get("bars", {})
    yield f"{'ratio':<30}{'median':>10}{'spread':>22}{'bar':>10}"
    for key, ratio in ratios.items():
        least, most = spread.get(key, (ratio, ratio))
        bar = Bar(**bars[key]) if key in bars else None
        end = f"{bar!s:>10}{'' if bar.is_held(ratio) else '  not held'}" if bar else ""
        yield f"{key:<30}{ratio:>10.4g}{f'{least:.4g} .. {most:.4g}':>22}{end}"
    for title, part in (("figures", figures), ("limits", limits)):
        yield f"\n{title}"
        yield from _tree({k: v for k, v in part.items() if k not in ("spread", "bars")}, "  ")


def _tree(part: Mapping[str, object], indent: str) -> Iterator[str]:
    for key, value in part.items():
        if isinstance(value, dict):
            yield f"{indent}{key}"
            yield from _tree(value, indent + "  ")
        else:
            yield f"{indent}{key:<34} {value if isinstance(value, str) else json.dumps(value)}"
