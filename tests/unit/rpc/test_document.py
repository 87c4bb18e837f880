from __future__ import annotations

from pathlib import Path

from psp.rpc._document import TABLES, fill

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol.md"


def test_the_documents_tables_are_the_codes() -> None:
    """If they are not, `python -m psp.rpc._document < docs/protocol.md` writes it anew."""
    text = DOCUMENT.read_text("utf-8")
    assert fill(text) == text
    for name in TABLES:
        assert f"<!-- table {name} -->" in text
