from __future__ import annotations

import re
from pathlib import Path

import pytest

from psp.endpoint import _limits as waiting
from psp.rpc._document import TABLES, fill
from psp.transport import HANDSHAKE_S_MAX, HANDSHAKES_MAX
from psp.transport import _limits as sending
from psp.wire import _limits as wire

DOCUMENT = Path(__file__).parents[3] / "docs" / "protocol.md"


def test_the_documents_tables_are_the_codes() -> None:
    """If they are not, `python -m psp.rpc._document < docs/protocol.md` writes it anew."""
    assert fill(text()) == text()
    for name in TABLES:
        assert f"<!-- table {name} -->" in text()


def test_the_documents_times_are_the_codes() -> None:
    """The cores know no clock, so this table is written by hand."""
    found = re.findall(r"^\| (?:subject|controller|either): .* \| ([0-9]+) s \|$", text(), re.M)
    assert list(map(float, found)) == [
        HANDSHAKE_S_MAX,
        waiting.HELLO_S_MAX,
        waiting.FRAME_S_MAX,
        waiting.IDLE_S_MAX,
        sending.UNREAD_S_MAX,
        waiting.DRAIN_S,
        waiting.HELLO_S_MAX / 2,
        waiting.PING_S,
        waiting.PONG_S_MAX,
        waiting.CALL_S_DEFAULT,
    ]


@pytest.mark.parametrize(
    "words",
    [
        f"{wire.DEPTH_MAX} containers inside each other",
        f"{wire.NODES_MAX:,} values and keys in one frame",
        f"{wire.MAP_KEYS_MAX:,} keys in one map",
        f"at most {wire.PROMISED_BYTES_MAX:,} bytes: an export id",
        f"at most {wire.PROMISED_NODES_MAX:,} values and keys into the arguments",
        f"one of {HANDSHAKES_MAX} handshakes for {HANDSHAKE_S_MAX:g} seconds",
        f"yields after {waiting.INLINE_CALLS_MAX} calls or {waiting.INLINE_S_MAX * 1000:g} ms",
        f"above {sending.UNSENT_BYTES_MAX // wire.MIB} MiB",
    ],
)
def test_a_number_in_the_documents_text_is_the_codes(words: str) -> None:
    assert words in " ".join(text().split())


def text() -> str:
    return DOCUMENT.read_text("utf-8")
