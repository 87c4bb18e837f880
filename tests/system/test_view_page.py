"""A page that proves itself: with the command, and in a real browser, from disk and offline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import pytest
import trio

from psp.aggregator import Fleet, View, evidence_of, show
from psp.cli._app import app
from psp.cli._page import check_page_untrusted
from psp.console import render_report_page
from psp.endpoint import Portal
from psp.errors import EstateError, QuestionError, TooFewAnswered
from psp.estate import Estate, create_estate, draft_estate
from psp.totebox import serve_archive

CHROMIUM = shutil.which("chromium")
TOWNS: Final = ("north", "south", "west")
VIEW: Final = """\
title = "Rents <b>of</b> three towns"
table = "homes"
group = ["month(signed)"]
[measures]
leases = "count(*)"
rent = "sum(rent)"
area = "sum(area)"
least = "min(rent)"
mean = "avg(rent)"
[derived]
per_area = "rent / area"
[[thresholds]]
when = "per_area > 14.6"
sentence = "dear"
"""


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Estate]:
    directory = tmp_path_factory.mktemp("page")
    files = []
    for number, town in enumerate(TOWNS):
        lines = ["lease,signed,rent,area"] + [
            f"{town}-{at},2026-{at % 5 + 1:02}-15,{1000 + 10 * number}.{at:02},{50 + at}"
            for at in range(40)
        ]
        files.append(directory / f"{town}.csv")
        files[-1].write_text("\n".join(lines) + "\n")
    made = create_estate(draft_estate(directory / "estate", files, table="homes"))

    @asynccontextmanager
    async def served() -> AsyncIterator[None]:
        async with trio.open_nursery() as nursery:
            for member in made.roster.members:
                directory = made.layout.archive(member.name)
                await nursery.start(_serve, directory, member.address.port)
            yield
            nursery.cancel_scope.cancel()

    with Portal() as portal, portal.enter(served()):
        yield made


async def _serve(
    directory: Path,
    port: int,
    task_status: trio.TaskStatus[tuple[str, int]] = trio.TASK_STATUS_IGNORED,
) -> None:
    await serve_archive(directory, host="127.0.0.1", port=port, task_status=task_status)


@pytest.fixture(scope="module")
def view(estate: Estate) -> View:
    file = estate.layout.root / "view.toml"
    file.write_text(VIEW)
    return View.load(file)


@pytest.fixture(scope="module")
def page(estate: Estate, view: View) -> str:
    with Fleet(estate.roster) as fleet:
        answer = fleet.view(view, receipts=True)
    return render_report_page(show(view, answer), evidence_of(view, answer))


def edited(page: str, row: str, *, cell: int = 1) -> str:
    """Change one digit of one figure that is shown."""
    start = page.index(row)
    place = page.index(f'data-column="{cell}">', start) + len(f'data-column="{cell}">')
    digit = page[place]
    return f"{page[:place]}{(int(digit) + 1) % 10}{page[place + 1 :]}"


def wrong(page: str, estate: Estate | None = None) -> dict[str, str]:
    checked = check_page_untrusted(
        Path("page.html"), page.encode(), None if estate is None else estate.roster
    )
    return checked.wrong


def test_every_member_and_every_sum_holds(page: str, estate: Estate) -> None:
    assert wrong(page, estate) == {}
    assert "<b>of</b>" not in page


@pytest.mark.parametrize("cell", range(6))
def test_one_edited_digit_of_a_member_is_that_members(page: str, cell: int) -> None:
    assert set(wrong(edited(page, 'data-member="south"', cell=cell))) == {"south"}


def test_an_edited_sum_is_found(page: str) -> None:
    assert set(wrong(edited(page, "<tr data-total"))) == {"total"}
    ((found, _),) = wrong(edited(page, "<tr data-group")).items()
    assert found == 'group ["2026-01"]'


def test_an_edited_answer_and_an_edited_receipt_are_found(page: str) -> None:
    for field in ("answer", "entry", "note", "key"):
        place = page.index(f'"{field}":"', page.index('"member":"north"')) + len(field) + 60
        letter = "A" if page[place] != "A" else "B"
        found = wrong(page[:place] + letter + page[place + 1 :])
        assert "north" in found, field
        assert "south" not in found


def test_a_key_that_the_estate_does_not_know_is_found(page: str, estate: Estate) -> None:
    north, south = (
        next(it.reads_key for it in estate.roster.members if it.name == name)
        for name in ("north", "south")
    )
    swapped = page.replace(north, "(one)").replace(south, north).replace("(one)", south)
    assert {"north", "south"} <= set(wrong(swapped, estate))


def test_what_is_no_page_is_said_to_be_none() -> None:
    for text in ("", '<script type="application/json" id="evidence">{}</script>'):
        with pytest.raises(EstateError, match="no page that proves itself"):
            check_page_untrusted(Path("x.html"), text.encode(), None)


def test_a_view_without_receipts_or_on_terms_makes_no_page(estate: Estate, view: View) -> None:
    with Fleet(estate.roster) as fleet:
        answer = fleet.view(view)
    with pytest.raises(QuestionError, match="gave no receipt"):
        evidence_of(view, answer)


# The commands, in this process: the estate is served by another thread of it


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    with suppress(SystemExit):  # It leaves with 0; a failure raises something else.
        app([*map(str, arguments)])
    return capsys.readouterr().out


def test_a_view_is_saved_asked_again_and_explained(
    estate: Estate, view: View, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    del view  # Its file is there.
    root = estate.layout.root
    ask = ("view", root / "view.toml", "--estate", root)
    saved = [tmp_path / f"view{it}" for it in (".json", ".csv", ".html")]
    text = run(capsys, *ask, *(part for file in saved for part in ("--save", file)))
    assert "west: dear" in text
    assert "3 of 3 members" in text
    now, then = (json.loads(run(capsys, *ask, "--json", *it)) for it in ((), ("--as-of", saved[0])))
    assert now["total"] == then["total"] == json.loads(saved[0].read_text())["total"]
    since = json.loads(run(capsys, *ask, "--json", "--since", saved[0]))
    assert since["total_before"] == since["total"]
    why = json.loads(run(capsys, *ask, "--json", "--why", "rent@2026-03"))
    assert len(why["parts"]) == 3
    verified = run(capsys, "verify", saved[2], "--estate", root)
    assert "3 of 3 members verified" in verified
    assert "rent = sum(rent), area = sum(area)" in verified


def test_a_column_that_no_member_has_is_told_with_its_line(
    estate: Estate, view: View, tmp_path: Path
) -> None:
    del view
    bad = tmp_path / "bad.toml"
    bad.write_text(VIEW.replace('"sum(area)"', '"sum(surface)"'))
    with pytest.raises(QuestionError, match=r"bad\.toml, line 7: .*'surface'"):
        app(["view", str(bad), "--estate", str(estate.layout.root)])


def test_what_came_is_shown_although_too_few_answered(
    estate: Estate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    some = tmp_path / "some.toml"
    some.write_text('require = "all"\nwithin = 0.000001\n' + VIEW)
    with pytest.raises(TooFewAnswered):
        app(["view", str(some), "--estate", str(estate.layout.root)])
    assert "totals over 0 of 3 members" in capsys.readouterr().out


def test_the_doctor_finds_all_members_well(
    estate: Estate, capsys: pytest.CaptureFixture[str]
) -> None:
    text = run(capsys, "doctor", "--estate", estate.layout.root)
    assert "3 of 3 members are well" in text
    assert "answer: the grant is accepted and shows 1 tables" in run(
        capsys, "doctor", "north", "--estate", estate.layout.root
    )


# In a browser


browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium")


def dom(page: str, directory: Path) -> str:
    assert CHROMIUM is not None
    file = directory / "page.html"
    file.write_text(page)
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--virtual-time-budget=20000", "--dump-dom"),
            *(f"--user-data-dir={directory / 'profile'}", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=90,
        env=os.environ | {"HOME": str(directory)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(text: str) -> dict[str, str]:
    found = {}
    for row in re.findall(r"<tr [^>]*>", text):
        if (name := re.search(r'data-(member|group|total)="([^"]*)"', row)) is not None:
            state = re.search(r'class="(\w+)"', row)
            found[name[2] or "total"] = state[1] if state else "unchecked"
    return found


@browser
@pytest.mark.slow
def test_the_browser_verifies_all_members_and_all_sums(page: str, tmp_path: Path) -> None:
    text = dom(page, tmp_path)
    assert set(states(text).values()) == {"proven"}, re.findall(r"data-proof[^<]*<", text)
    assert "3 of 3 members verified; 6 of 6 sums recomputed" in text
    assert "per_area = (sum(rent) / sum(area))" in text
    assert not re.search(r"""(?:src|href)=["']""", text)


@browser
@pytest.mark.slow
def test_one_edited_digit_turns_exactly_that_member_red(page: str, tmp_path: Path) -> None:
    found = states(dom(edited(page, 'data-member="south"', cell=5), tmp_path))
    assert {name for name, state in found.items() if state != "proven"} == {"south"}


@browser
@pytest.mark.slow
def test_an_edited_answer_turns_its_member_and_the_sums_red(page: str, tmp_path: Path) -> None:
    place = page.index('"answer":"', page.index('"member":"north"')) + 60
    letter = "A" if page[place] != "A" else "B"
    found = states(dom(page[:place] + letter + page[place + 1 :], tmp_path))
    assert found["north"] == "broken"
    assert found["total"] == "broken"
    assert found["south"] == found["west"] == "proven"


@browser
@pytest.mark.slow
def test_it_prints_to_two_pages_at_most(page: str, tmp_path: Path) -> None:
    assert CHROMIUM is not None
    (tmp_path / "page.html").write_text(page)
    target = tmp_path / "page.pdf"
    subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--print-to-pdf={target}"),
            (tmp_path / "page.html").as_uri(),
        ],
        capture_output=True,
        timeout=90,
        check=True,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert 1 <= len(re.findall(rb"/Type\s*/Page[^s]", target.read_bytes())) <= 2
