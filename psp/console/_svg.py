"""SVG that the page's policy accepts: only known elements, only known attributes, no style.

The page forbids inline style and script. A renderer's output is therefore not trusted to keep to
that: it is parsed and written anew from two lists, so what is not on a list cannot be there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from xml.etree import ElementTree

from markupsafe import Markup, escape

_SVG: Final = "{http://www.w3.org/2000/svg}"
_DRAWN: Final = frozenset({"g", "path", "rect", "line", "circle", "text", "tspan"})
_KEPT: Final = frozenset(
    {
        *("d", "x", "y", "x1", "y1", "x2", "y2", "dx", "dy", "cx", "cy", "r"),
        *("width", "height", "transform", "text-anchor", "font-size", "font-weight"),
        *("fill", "fill-opacity", "stroke", "stroke-width", "stroke-linecap"),
    }
)


def clean_svg(source: str, *, css_class: str, title: str) -> Markup:
    """Rebuild one chart for the page, with `title` as what a screen reader says about it."""
    root = ElementTree.fromstring(source)
    body = Markup("").join(_clean(child) for child in root)
    return Markup('<svg class="{}" viewBox="{}" role="img" aria-label="{}">{}</svg>').format(
        css_class, root.get("viewBox", ""), title, body
    )


def _clean(element: ElementTree.Element) -> Markup:
    name = element.tag.removeprefix(_SVG)
    if name not in _DRAWN or element.get("display") == "none":
        return Markup("")
    attributes = Markup("").join(
        Markup(' {}="{}"').format(key, value)
        for key, value in element.attrib.items()
        if key in _KEPT
    )
    inner = escape(element.text or "") + Markup("").join(_clean(child) for child in element)
    if not inner and name in ("g", "text", "tspan"):
        return Markup("")  # The renderer leaves half its groups empty.
    return Markup("<{0}{1}>{2}</{0}>").format(name, attributes, inner)


def spark_svg(values: Sequence[float | None], *, width: int = 84, height: int = 20) -> Markup:
    """Draw a line from zero up, with a gap wherever a value is not shown."""
    top = max((value for value in values if value is not None), default=0.0)
    if top <= 0 or len(values) < 2:
        return Markup("")
    step = (width - 4) / (len(values) - 1)
    runs: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            level = min(1.0, max(0.0, value / top))
            runs[-1].append(f"{2 + index * step:.1f} {height - 2 - level * (height - 4):.1f}")
    path = "".join(f"M{'L'.join(run)}" for run in runs if len(run) > 1)
    # A month between two hidden ones has no line to lie on.
    dots = Markup("").join(
        Markup('<circle cx="{}" cy="{}" r="1.6"></circle>').format(*run[0].split())
        for run in runs
        if len(run) == 1
    )
    return Markup(
        '<svg class="spark" viewBox="0 0 {} {}" aria-hidden="true"><path d="{}"></path>{}</svg>'
    ).format(width, height, path, dots)


def bar_svg(part: float) -> Markup:
    """Draw a member's size as a thin bar, as a part of the largest."""
    width = max(0.5, min(100.0, part * 100))
    return Markup(
        '<svg class="bar" viewBox="0 0 100 4" preserveAspectRatio="none" aria-hidden="true">'
        '<rect width="{:.1f}" height="4"></rect></svg>'
    ).format(width)
