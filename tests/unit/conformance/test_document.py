from __future__ import annotations

from pathlib import Path

from psp.conformance._document import fill

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol.md"


def test_the_session_in_the_document_is_the_one_of_the_cases() -> None:
    """If not, `python -m psp.conformance._document < docs/protocol.md` writes it anew."""
    text = DOCUMENT.read_text("utf-8")
    assert "<!-- session -->" in text
    assert fill(text) == text
