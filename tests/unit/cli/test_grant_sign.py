"""What is read for a grant, and how a file that will not do is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from psp.cli._grant_sign import read_certificate
from psp.errors import EstateError


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\xff"])
def test_a_file_that_is_no_certificate_is_named(tmp_path: Path, content: bytes) -> None:
    """A command may take several of them."""
    file = tmp_path / "operator.pem"
    file.write_bytes(content)
    with pytest.raises(EstateError, match=r"operator\.pem"):
        read_certificate(file)
