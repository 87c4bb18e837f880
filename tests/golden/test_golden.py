"""Archives of every release so far: each opens, answers, and has nothing wrong with it."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import pytest

from psp.errors import ArchiveError
from psp.totebox import (
    Severity,
    audit_archive,
    hash_result,
    reads_origin,
    unpack,
    verify_receipt_untrusted,
)

from .keys import LEDGER
from .make import ARCHIVE_ID, COUNT, GOLDEN, granted, make

ORIGIN = reads_origin(f"psp-archive/{ARCHIVE_ID.hex()}")
READS_BEFORE = 2


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.glob("*.tar")))
async def test_a_golden_archive_opens_answers_and_verifies(name: str, tmp_path: Path) -> None:
    box = tmp_path / "box"
    report = unpack(GOLDEN / name, box)
    assert report.worst is Severity.NOTE, report.findings
    assert report.reads_recorded == READS_BEFORE

    async with granted(box) as grant:
        table = grant.call("table", "sales")
        answer = await table.call("query", COUNT.to_wire())
        assert isinstance(answer, Mapping)
        assert answer["cells"] == [[[], [4, Decimal("1543900.75")]]]
        row = await table.call("row", ["3"]).call("values")
        assert row == {"id": "3", "price": Decimal("180000.25"), "rooms": 2}
        receipt = await grant.call("receipt", answer["read"])

    found = verify_receipt_untrusted(receipt, public_key=LEDGER.public_bytes, origin=ORIGIN)
    kept = {key: value for key, value in answer.items() if key != "read"}
    assert (found.index, found.read.result) == (READS_BEFORE, hash_result(kept))
    assert audit_archive(box).findings == []


def test_there_are_golden_archives_and_none_is_written_over() -> None:
    found = sorted(GOLDEN.glob("*.tar"))
    assert found
    with pytest.raises(ArchiveError, match="there already"):
        make(found[0])
