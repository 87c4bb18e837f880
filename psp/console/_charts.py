"""The two charts of the page, drawn by altair and vl-convert to static SVG.

Colours are CSS variables, so one drawing serves light, dark and paper. Each chart is drawn twice,
wide and narrow: a wide one shrunk to a phone has letters of six pixels. Text from a member never
enters an expression or a scale; it is only ever the value of a text mark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import altair as alt
import vl_convert
from markupsafe import Markup

from ._figures import month, share, short_money
from ._svg import clean_svg
from ._view import Period, Tenant

Json: TypeAlias = dict[str, Any]
Picture: TypeAlias = alt.LayerChart | alt.FacetChart

WIDE: Final = 560
NARROW: Final = 330
_TREND_HEIGHT: Final = 150
_SIZES_HEIGHT: Final = 84
_TEXT: Final = "var(--quiet)"
_LARGEST: Final = 10


def trend_charts(tenant: Tenant) -> Markup:
    """Draw the amount of each period; lighter where much of the fleet is not in it."""
    title = f"{tenant.words['volume']} by month, {tenant.trend_sentence}. " + "; ".join(
        f"{period.name} {short_money(period.volume, tenant.total.currency)}"
        for period in tenant.trend
    )
    return _both([_bar(period, tenant) for period in tenant.trend], _trend, title)


def size_charts(tenant: Tenant) -> Markup:
    """Draw every company as one thin bar, largest first; gaps at the end are the missing ones."""
    figures: list[Json] = [
        {
            "index": index,
            "value": float(member.figures.volume or 0),
            "colour": "var(--accent)" if index < _LARGEST else "var(--accent-soft)",
        }
        for index, member in enumerate(tenant.members)
    ]
    highest = max((figure["value"] for figure in figures), default=0.0)
    figures += [
        {"index": len(tenant.members) + index, "value": highest, "colour": "var(--missing)"}
        for index in range(len(tenant.absent))
    ]
    return _both(figures, _sizes, size_sentence(tenant))


def size_sentence(tenant: Tenant) -> str:
    """Say how much of the amount the largest hold: what the chart shows, in words."""
    shown = [member.figures.volume for member in tenant.members if member.figures.volume]
    whole = sum(shown, Decimal(0))
    if whole <= 0 or len(shown) <= _LARGEST:
        return f"Every one of {len(tenant.members)} {tenant.words['members']}, largest first"
    part = share(sum(shown[:_LARGEST], Decimal(0)), whole)
    volume = tenant.words["volume"].lower()
    return (
        f"The {_LARGEST} largest of {len(shown)} {tenant.words['members']} hold {part} of {volume}"
    )


def _bar(period: Period, tenant: Tenant) -> Json:
    name, year = month(period.period)
    return {
        "period": period.period,
        "month": name,
        "year": year,
        "value": float(period.volume or 0),
        "words": short_money(period.volume, tenant.total.currency),
        "colour": "var(--accent-soft)" if tenant.is_thin(period) else "var(--accent)",
    }


def _trend(bars: Sequence[Json], width: int) -> Picture:
    last_year = ""
    for index, bar in enumerate(bars):
        bar["index"] = index
        bar["year"], last_year = (bar["year"] if bar["year"] != last_year else ""), bar["year"]
        # On a phone thirteen names do not fit beside each other; letters do.
        bar["name"] = bar["month"] if width >= WIDE else bar["month"][:1]
    highest = max((bar["value"] for bar in bars), default=0.0)
    peak = [bar for bar in bars if bar["value"] == highest][:1]
    x = alt.X("index:O", axis=None, scale=alt.Scale(paddingInner=0.22, paddingOuter=0.05))
    base = alt.Chart({"values": list(bars)}).encode(x=x)
    columns = base.mark_bar(cornerRadiusTopLeft=2, cornerRadiusTopRight=2).encode(
        y=_amount(highest * 1.12), fill=alt.Fill("colour:N", scale=None)
    )
    figures = (
        alt.Chart({"values": peak})
        .mark_text(dy=-7, fontSize=11, fontWeight=600, fill="var(--ink)")
        .encode(x=x, y=_amount(highest * 1.12), text="words:N")
    )
    names, years = _below(base, "name", 13), _below(base, "year", 27)
    return alt.layer(columns, figures, names, years).properties(height=_TREND_HEIGHT)


def _sizes(figures: Sequence[Json], width: int) -> Picture:
    highest = max((figure["value"] for figure in figures), default=0.0)
    x = alt.X("index:O", axis=None, scale=alt.Scale(paddingInner=0.25, paddingOuter=0))
    base = alt.Chart({"values": list(figures)}).encode(x=x)
    return alt.layer(
        base.mark_bar().encode(y=_amount(highest), fill=alt.Fill("colour:N", scale=None))
    ).properties(height=_SIZES_HEIGHT)


def _amount(highest: float) -> alt.Y:
    scale = alt.Scale(domain=[0, highest or 1], nice=False, zero=True)
    return alt.Y("value:Q", axis=None, scale=scale)


def _below(base: alt.Chart, field: str, distance: int) -> alt.Chart:
    text: alt.Chart = base.mark_text(fontSize=11, fill=_TEXT).encode(
        y=alt.value(_TREND_HEIGHT + distance), text=f"{field}:N"
    )
    return text


def _both(
    figures: list[Json], draw: Callable[[Sequence[Json], int], Picture], title: str
) -> Markup:
    if not figures:
        return Markup("")
    return Markup("").join(
        _svg(draw([dict(figure) for figure in figures], width), width, css_class, title)
        for width, css_class in ((WIDE, "chart wide"), (NARROW, "chart narrow"))
    )


def _svg(chart: Picture, width: int, css_class: str, title: str) -> Markup:
    spec = (
        chart.properties(width=width, padding=2, background="transparent")
        .configure_view(stroke=None, fill=None)
        .to_dict()
    )
    # No address is allowed: a chart that fetched something would tell a stranger who reads it.
    source = vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])
    return clean_svg(source, css_class=css_class, title=title)
