"""The page in a real browser: in the light, in the dark, on a phone, on paper."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from psp.console import render_page

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
PORTFOLIO = Path(__file__).parents[1] / "fixtures" / "portfolio_view.json"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--enable-logging=stderr", "--log-level=0"),
)
LIGHT, DARK, UNSTYLED = (0xF6, 0xF5, 0xF1), (0x0F, 0x14, 0x1A), (0xFF, 0xFF, 0xFF)
PHONE_PIXELS = 390

Browse: TypeAlias = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here; apt-get install chromium"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(render_page(json.loads(PORTFOLIO.read_text("utf-8"))), "utf-8")
    return path


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    def run(path: Path, *flags: str) -> subprocess.CompletedProcess[str]:
        assert CHROMIUM is not None
        done = subprocess.run(
            [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, path.as_uri()],
            capture_output=True,
            text=True,
            timeout=90,
            env=os.environ | {"HOME": str(tmp_path)},
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


def paper(picture: Path) -> tuple[int, int, int]:
    """Read the first pixel of a PNG: the colour of the page behind everything.

    In the first row nothing is left of it or above it, so every PNG filter leaves it as it is.
    """
    data = picture.read_bytes()
    assert data[24:26] in (b"\x08\x02", b"\x08\x06")  # Eight bits; RGB or RGBA.
    place, packed = 8, b""
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        if data[place + 4 : place + 8] == b"IDAT":
            packed += data[place + 8 : place + 8 + length]
        place += 12 + length
    red, green, blue = zlib.decompress(packed)[1:4]
    return red, green, blue


@pytest.mark.parametrize(("scheme", "colour"), [(1, LIGHT), (0, DARK)])
def test_the_page_follows_light_and_dark(
    page: Path, browse: Browse, tmp_path: Path, scheme: int, colour: tuple[int, int, int]
) -> None:
    """Also the proof that the browser accepts the hash of the style block."""
    picture = tmp_path / "page.png"
    browse(page, f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={picture}")
    assert paper(picture) == colour


def test_the_policy_refuses_nothing_of_ours_and_everything_else(
    page: Path, browse: Browse, tmp_path: Path
) -> None:
    refused = re.compile("Content Security Policy", re.IGNORECASE)
    assert not refused.search(browse(page, "--dump-dom").stderr)

    forged, picture = tmp_path / "forged.html", tmp_path / "forged.png"
    text = page.read_text("utf-8").replace("<style>", "<style>/* one byte more */", 1)
    forged.write_text(
        text.replace("</footer>", "</footer><script>document.title='ran'</script>"), "utf-8"
    )
    assert "<title>ran" not in browse(forged, "--dump-dom").stdout
    assert refused.search(browse(forged, f"--screenshot={picture}").stderr)
    assert paper(picture) == UNSTYLED


def test_a_phone_needs_no_sideways_scrolling(page: Path, browse: Browse) -> None:
    """A frame as wide as a phone; headless windows are never narrower than 500 pixels."""
    frame = page.with_name("frame.html")
    frame.write_text(
        f"<iframe src='page.html' style='width:{PHONE_PIXELS}px;height:900px;border:0'></iframe>"
        "<script>onload = () => {"
        " const inside = document.querySelector('iframe').contentDocument;"
        " const shown = kind => [...inside.querySelectorAll(kind)]"
        ".filter(chart => chart.getBoundingClientRect().width > 0).length;"
        " const tables = [...inside.querySelectorAll('.tenant .scroll')]"
        ".filter(table => table.scrollWidth > table.clientWidth).length;"
        " document.title = [inside.documentElement.scrollWidth, tables,"
        " shown('.chart.narrow'), shown('.chart.wide')].join(' ');"
        "}</script>",
        "utf-8",
    )
    dom = browse(frame, "--dump-dom", "--allow-file-access-from-files").stdout
    assert f"<title>{PHONE_PIXELS} 0 4 0</title>" in dom


def test_the_executive_part_prints_on_two_pages_of_a4(
    page: Path, browse: Browse, tmp_path: Path
) -> None:
    pdf = tmp_path / "page.pdf"
    browse(page, "--no-pdf-header-footer", f"--print-to-pdf={pdf}")
    sizes = re.findall(rb"/MediaBox\s*\[0 0 (\d+)[.\d]* (\d+)", pdf.read_bytes())
    assert set(sizes) <= {(b"594", b"841"), (b"595", b"842"), (b"595", b"841"), (b"594", b"842")}
    assert sizes
    if shutil.which("pdftotext") is None:
        pytest.skip("no pdftotext here; apt-get install poppler-utils")
    text = subprocess.run(
        ["pdftotext", "-layout", str(pdf), "-"], capture_output=True, text=True, check=True
    ).stdout
    owner, lender, appendix, *_ = text.split("\f")
    assert "69 of 70 companies answered" in owner
    assert "Nothing is hidden." in owner
    assert "68 of 70 companies answered" in lender
    assert "117 cells hidden" in lender
    assert "$429,828,885" in appendix
