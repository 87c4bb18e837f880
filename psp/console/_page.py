"""One view as one HTML file: opens from a disk, prints for a board, asks nobody for anything."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from ._charts import size_charts, size_sentence, trend_charts
from ._figures import count, short_money
from ._svg import bar_svg, spark_svg
from ._view import Json, Member, Tenant, read_view

LARGEST_SHOWN = 10
SMALLEST_SHOWN = 3
EXCEPTIONS_SHOWN = 8
"""More than a board reads at once; the others open on a click."""
ABSENT_SHOWN = 8


def page(view: Json) -> str:
    """Draw the whole page. Autoescape is on: nothing from the view is ever marked safe."""
    shown = read_view(view)
    style = asset("page.css")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.update(
        policy=content_policy(style),
        style=Markup(style),
        trend_charts=trend_charts,
        size_charts=size_charts,
        size_sentence=size_sentence,
        exceptions_shown=EXCEPTIONS_SHOWN,
        absent_shown=ABSENT_SHOWN,
        largest=largest,
        smallest=smallest,
        spark=spark_svg,
        bar=member_bar,
        count=count,
        short_money=short_money,
    )
    return environment.from_string(asset("page.html")).render(view=shown)


def content_policy(style: str) -> str:
    """Forbid everything but the one style block, named by its hash: no script, no address."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def largest(tenant: Tenant) -> tuple[Member, ...]:
    """The members of the short table's upper part; all of them if they are few."""
    if len(tenant.members) <= LARGEST_SHOWN + SMALLEST_SHOWN:
        return tenant.members
    return tenant.members[:LARGEST_SHOWN]


def smallest(tenant: Tenant) -> tuple[Member, ...]:
    """The members of the short table's lower part; none if all are in the upper one."""
    if len(tenant.members) <= LARGEST_SHOWN + SMALLEST_SHOWN:
        return ()
    return tenant.members[-SMALLEST_SHOWN:]


def member_bar(member: Member, tenant: Tenant) -> Markup:
    top = tenant.members[0].figures.volume
    volume = member.figures.volume
    if not top or not volume or top < 0:
        return Markup("")
    return bar_svg(float(volume / top))


def asset(name: str) -> str:
    return files("psp.console").joinpath(name).read_text(encoding="utf-8")
