"""The view of the demo: one question, and what a portfolio's owner reads from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from psp.aggregator import Answer, Part, absent_to_dict, plain
from psp.estate import TenantPolicy

from ._programme import Programme

WINDOW_MONTHS: Final = 3
"""Months that are compared with the ones before: one month of a postal code is noise."""
FALL_HIGH: Final = Decimal("0.10")
FALL_MEDIUM: Final = Decimal("0.05")
EXCEPTIONS_MAX: Final = 8
"""More is a table, not a list of exceptions."""


def tenant_view(
    answer: Answer, programme: Programme, policy: TenantPolicy, labels: Mapping[str, str]
) -> dict[str, Any]:
    """Give one tenant's view as plain values, ready for a renderer or for JSON."""
    by_member: dict[str, dict[str | None, Part]] = {}
    for part in answer.parts:
        period = programme.period(part.key[0]) if part.key else None
        by_member.setdefault(part.member, {})[period] = part
    periods = sorted({period for parts in by_member.values() for period in parts if period})
    # The last month has only begun: it is compared with nothing.
    exceptions = _exceptions(answer, programme, by_member, labels, periods[:-1])
    absent = [
        {**entry, "label": labels[entry["member"]]} for entry in absent_to_dict(answer.outcomes)
    ]
    return {
        "name": programme.names[programme.tenants.index(policy)],
        "sentence": f"{_headline(answer, programme, periods, exceptions)} {policy.sentence}",
        "floor": policy.floor,
        "currency": programme.currency,
        "members_asked": len(answer.outcomes),
        "states": answer.states,
        "absent": absent,
        "partial": bool(answer.absent),
        "total": _figures(answer, answer.parts),
        "trend": [_period(answer, period, by_member) for period in periods],
        "members": [
            _member(answer, member, labels[member], by_member[member], periods)
            for member in sorted(by_member)
        ],
        "exceptions": exceptions,
        "withheld": [
            {
                "member": entry.member,
                "period": programme.period(entry.key[0]) if entry.key else None,
                "rule": entry.rule,
                "words": entry.words_for(programme.subjects),
            }
            for entry in answer.withheld
        ],
    }


def _headline(
    answer: Answer,
    programme: Programme,
    periods: Sequence[str],
    exceptions: Sequence[Mapping[str, Any]],
) -> str:
    """The one sentence for somebody who reads no further."""
    asked, answered = len(answer.outcomes), len(answer.outcomes) - len(answer.absent)
    members = programme.words.get("members", "companies")
    at = answer.asked_at.strftime("%H:%M")
    sales = answer.total()["sales"] or 0
    what = programme.words.get("sales", "Sales").lower()
    return (
        f"{answered} of {asked} {members} answered, as of {at} UTC: {sales:,} {what} in"
        f" {len(periods)} months, {len(exceptions) or 'no'} exceptions."
    )


def _figures(answer: Answer, parts: Sequence[Part]) -> dict[str, Any]:
    total = answer.total(parts)
    return {name: plain(total[name]) for name in ("sales", "volume", "ppsf")}


def _period(
    answer: Answer, period: str, by_member: Mapping[str, Mapping[str | None, Part]]
) -> dict[str, Any]:
    parts = [parts[period] for parts in by_member.values() if period in parts]
    figures = _figures(answer, parts)
    return {"period": period, **figures, "members": len(parts), "of": len(by_member)}


def _member(
    answer: Answer,
    member: str,
    label: str,
    parts: Mapping[str | None, Part],
    periods: Sequence[str],
) -> dict[str, Any]:
    return {
        "member": member,
        "label": label,
        **_figures(answer, list(parts.values())),
        "hidden": sum(entry.cells for entry in answer.withheld if entry.member == member),
        "trend": [
            _number(answer.total([parts[period]])["volume"]) if period in parts else None
            for period in periods
        ],
    }


def _exceptions(
    answer: Answer,
    programme: Programme,
    by_member: Mapping[str, Mapping[str | None, Part]],
    labels: Mapping[str, str],
    periods: Sequence[str],
) -> list[dict[str, Any]]:
    """Name who is missing, then whose ratio fell most."""
    missing = [
        {
            "member": entry["member"],
            "severity": "high",
            "sentence": f"{labels[entry['member']]} is {entry['state']}: {entry['cause']}",
        }
        for entry in absent_to_dict(answer.outcomes)
    ]
    before, last = periods[-2 * WINDOW_MONTHS : -WINDOW_MONTHS], periods[-WINDOW_MONTHS:]
    changes = [
        (change, member)
        for member, parts in by_member.items()
        if (change := _change(answer, parts, before, last)) is not None
    ]
    fallen = [
        {
            "member": member,
            "severity": "high" if change <= -FALL_HIGH else "medium",
            "sentence": (
                f"{labels[member]}: price per square foot fell {-change:.1%} ({last[0]} to"
                f" {last[-1]} against {before[0]} to {before[-1]})"
            ),
        }
        for change, member in sorted(changes)
        if programme.falls and change <= -FALL_MEDIUM
    ]
    return (missing + fallen)[:EXCEPTIONS_MAX]


def _change(
    answer: Answer,
    parts: Mapping[str | None, Part],
    before: Sequence[str],
    last: Sequence[str],
) -> Decimal | None:
    """How much the ratio changed; None where a month of either window is hidden or missing."""
    if not before or any(period not in parts for period in (*before, *last)):
        return None
    was, now = (
        answer.total([parts[period] for period in window])["ppsf"] for window in (before, last)
    )
    if not isinstance(was, Decimal) or not isinstance(now, Decimal) or not was:
        return None
    return now / was - 1


def _number(value: object) -> float | None:
    """A figure as a picture needs it: the one place where money may become a float."""
    return float(value) if isinstance(value, int | float | Decimal) else None
