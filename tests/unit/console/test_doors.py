from __future__ import annotations

import subprocess
import sys

import pytest

from psp.console import render_page, render_view
from psp.errors import MissingExtra

from . import views


@pytest.mark.parametrize("library", ["altair", "vl_convert", "jinja2"])
def test_a_missing_library_names_its_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("_page", "_charts"):
        monkeypatch.delitem(sys.modules, f"psp.console.{module}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtra, match=r"HTML page.*psp-protocol\[console\]"):
        render_page(views.portfolio())


def test_without_rich_a_view_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "psp.console._terminal", raising=False)
    monkeypatch.setitem(sys.modules, "rich", None)
    with pytest.raises(MissingExtra, match="needs the library rich"):
        render_view(views.portfolio(), None)  # type: ignore[arg-type]


def test_the_front_door_loads_no_optional_library() -> None:
    program = (
        "import sys, psp.console;"
        "print([m for m in ('rich', 'altair', 'vl_convert', 'jinja2') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert found.stdout.strip() == "[]"
