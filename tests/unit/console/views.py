"""Views to draw: the portfolio of King County as it is, and one whose member wants to do harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PORTFOLIO = Path(__file__).parents[2] / "fixtures" / "portfolio_view.json"

HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e[red]x[/red]<script>alert(1)</script>\u200b{{7*7}}\n\x9b31m"


def portfolio() -> dict[str, Any]:
    view: dict[str, Any] = json.loads(PORTFOLIO.read_text("utf-8"))
    return view


def hostile() -> dict[str, Any]:
    """Give a view in which every string but the times' is an attack, figures included."""
    member = {"member": HOSTILE, "label": HOSTILE, "hidden": 1, "trend": [1, None, HOSTILE]}
    figures = {"sales": HOSTILE, "volume": "1E+999999", "ppsf": "NaN"}
    tenant = {
        "name": HOSTILE,
        "sentence": HOSTILE * 100,
        "floor": 10,
        "members_asked": 3,
        "states": {"answered": 2, HOSTILE: 1},
        "absent": [{"member": "a", "state": HOSTILE, "cause": HOSTILE, "since": HOSTILE}],
        "total": figures,
        "partial": True,
        "currency": HOSTILE,
        "trend": [{"period": HOSTILE, "sales": 1, "volume": "5", "members": 2, "of": 3}],
        "members": [member | figures, member | {"sales": 1, "volume": "2", "ppsf": "-3"}],
        "exceptions": [{"member": HOSTILE, "severity": HOSTILE, "sentence": HOSTILE}],
        "withheld": [{"member": HOSTILE, "period": HOSTILE, "rule": "floor", "words": HOSTILE}],
    }
    return {
        "title": HOSTILE,
        "as_of": HOSTILE,
        "data_note": HOSTILE,
        "words": {"member": HOSTILE, "sales": HOSTILE},
        "tenants": [tenant, tenant],
    }


def empty() -> dict[str, Any]:
    """Give a view in which nobody answered."""
    view = portfolio()
    for tenant in view["tenants"]:
        tenant["members"], tenant["trend"], tenant["withheld"] = [], [], []
        tenant["total"] = {"sales": None, "volume": None, "ppsf": None}
        tenant["states"], tenant["exceptions"] = {"unreachable": 70}, []
    return view
