"""A view as a page that proves itself: figures, states, and the evidence for each of them.

The one script is ours and named by its hash; nothing is loaded, and no text of a member is ever
markup. What is shown is written exactly, so that the script can compare it digit by digit.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ._figures import DASH, decimal_or_none, instant, readable, since
from ._neutral import neutral
from ._svg import bar_svg
from ._view import Json


def report_page(view: Json, evidence: Json) -> str:
    """Draw it. Autoescape is on: but for our own style and script nothing is marked safe."""
    style, script = _asset("page.css") + _asset("report.css"), _asset("prove.js")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("report.html")).render(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        evidence=Markup(_for_script(evidence)),
        **_shown(view),
    )


def shown_figure(value: object) -> str:
    """Write a figure as the page shows it: exact, or rounded for the eye if it was calculated."""
    figure = decimal_or_none(value)
    if figure is None:
        return DASH if value is None else neutral(str(value))
    return readable(figure).replace("\N{MINUS SIGN}", "-")


def _policy(style: str, script: str) -> str:
    def named(text: str) -> str:
        return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

    return (
        f"default-src 'none'; style-src 'sha256-{named(style)}';"
        f" script-src 'sha256-{named(script)}'; base-uri 'none'; form-action 'none'"
    )


def _for_script(document: Json) -> str:
    """JSON that no HTML parser sees anything in but text."""
    text = json.dumps(document, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _shown(view: Json) -> dict[str, Any]:
    columns = view["columns"]

    def figures(source: Json) -> list[str]:
        return [shown_figure(source[name]) for name in columns]

    first = [_size(member["figures"][columns[0]]) for member in view["members"]]
    states = ", ".join(f"{int(number)} {neutral(name)}" for name, number in view["states"].items())
    return {
        "title": neutral(view["title"], 80),
        "as_of": instant(view["asked_at"]),
        "columns": [neutral(name, 40) for name in columns],
        "over": {key: int(view["over"][key]) for key in ("members", "of")},
        "states": states,
        "exceptions": [
            {
                "severity": "high" if each["severity"] == "high" else "medium",
                "sentence": neutral(each["sentence"], 300),
            }
            for each in view["exceptions"]
        ],
        "total": figures(view["total"]),
        "groups_by": ", ".join(neutral(name, 40) for name in view["groups_by"]),
        "groups": [
            {
                "id": json.dumps(each["id"], ensure_ascii=False, separators=(",", ":")),
                "label": _label(each["key"]),
                "figures": figures(each["figures"]),
                "members": int(each["members"]),
                "of": int(each["of"]),
            }
            for each in view["groups"]
        ],
        "members": [
            {
                "member": member["member"],
                "label": neutral(member["label"], 40),
                "bar": _bar(size, first),
                "figures": figures(member["figures"]),
                "as_of": view["as_of"].get(member["member"], ""),
            }
            for member, size in zip(view["members"], first, strict=True)
        ],
        "absent": [
            {"label": neutral(each["member"], 40), "sentence": _sentence(each)}
            for each in view["absent"]
        ],
        "hidden": _hidden(view["withheld"]),
    }


def _label(key: Sequence[object] | None) -> str:
    if key is None:
        return "hidden groups together"
    return ", ".join("none" if value is None else neutral(str(value), 40) for value in key)


def _sentence(absent: Json) -> str:
    when = f" since {since(absent['since'])}" if absent["since"] else ""
    return f"{neutral(absent['state'], 40)}{when}: {neutral(absent['cause'])}"


def _hidden(withheld: Sequence[Json]) -> list[str]:
    cells: dict[str, int] = {}
    for entry in withheld:
        words = neutral(entry["words"])
        cells[words] = cells.get(words, 0) + int(entry["cells"])
    return [f"{number} cells {words}" for words, number in cells.items()]


def _size(value: object) -> Decimal:
    return decimal_or_none(value) or Decimal(0)


def _bar(size: Decimal, all_of_them: Sequence[Decimal]) -> Markup:
    most = max(all_of_them, default=Decimal(0))
    return bar_svg(float(size / most)) if most > 0 and size > 0 else Markup("")


def _asset(name: str) -> str:
    return files("psp.console").joinpath(name).read_text(encoding="utf-8")
