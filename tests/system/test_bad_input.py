"""Bad input of every kind: one sentence with a remedy, an exit status, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Ran

pytestmark = pytest.mark.slow


def test_a_missing_file(psp: Callable[..., Ran], tmp_path: Path) -> None:
    refused = psp("estate", "new", "homes", "--yes", "--from", "nowhere.csv")
    assert refused.status == 1
    assert "nowhere.csv" in refused.sentence
    assert list(tmp_path.iterdir()) == []


def test_a_bad_number_in_line_20000(psp: Callable[..., Ran], tmp_path: Path) -> None:
    lines = ["id,price"] + [f"{n},{n}.50" for n in range(1, 30_000)]
    lines[19_999] = "19999,about five"
    (tmp_path / "sales.csv").write_text("\n".join(lines) + "\n", "utf-8")
    refused = psp("estate", "new", "x", "--yes", "--from", "sales.csv")
    assert refused.status == 1
    assert "20000" in refused.sentence.replace(",", "")
    assert "price" in refused.sentence
    assert "about five" not in refused.sentence, "a row's value is never in a message"
    assert not (tmp_path / "x").exists()
    assert psp("estate", "new", "x", "--yes", "--text", "price", "--from", "sales.csv").status == 0


def test_files_with_different_columns(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    files[1].write_text("lease,signed,rent,size\n1,2026-01-01,5,6\n", "utf-8")
    refused = psp("estate", "new", "homes", "--yes", "--from", *files)
    assert refused.status == 1
    assert "size" in refused.sentence
    assert not (tmp_path / "homes").exists()


def test_a_key_that_others_can_read(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    key = tmp_path / "homes" / "keys" / "operator.key"
    key.chmod(0o644)
    refused = psp("up")
    assert refused.status == 1
    assert "chmod 600" in refused.sentence


def test_an_estate_that_is_not_there(psp: Callable[..., Ran]) -> None:
    refused = psp("ask", "select count(*) from homes")
    assert refused.status == 1
    assert "psp estate new" in refused.sentence


def test_an_estate_file_that_is_damaged(
    psp: Callable[..., Ran], files: list[Path], tmp_path: Path
) -> None:
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    (tmp_path / "homes" / "estate.toml").write_text("name = ", "utf-8")
    refused = psp("status")
    assert refused.status == 1
    assert "estate.toml" in refused.sentence


@pytest.mark.parametrize(
    "question",
    ["select * from homes", "drop table homes", "select rent from homes", "sum(rent)", ""],
)
def test_a_question_that_no_plan_can_say(
    psp: Callable[..., Ran], files: list[Path], question: str
) -> None:
    """It is refused on the asker's side: nothing need be running."""
    assert psp("estate", "new", "homes", "--yes", "--from", *files).status == 0
    refused = psp("ask", question)
    assert refused.status == 1
    assert refused.sentence
