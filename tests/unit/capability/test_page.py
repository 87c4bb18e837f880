"""docs/capabilities.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from psp.capability import CEILING_OPERATIONS, Operation, Pairing, Tag

from .actors import AGGREGATOR, ANCHOR_KEY, ARCHIVE, CEILING, NOW, OPERATOR, OWNER, TENANT

PAGE = (Path(__file__).parents[3] / "docs" / "capabilities.md").read_text("utf-8")
SOURCE = Path(__file__).parents[3] / "psp" / "capability"


def test_its_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(
        "\n".join(examples),
        {
            "console": TENANT,
            "grant_id": bytes(32),
            "plan": [1],
            "root_key": OWNER,
            "anchor_key": ANCHOR_KEY,
            "anchor": ARCHIVE,
            "operator": OPERATOR,
            "aggregator": AGGREGATOR,
            "ceiling": CEILING,
            "now_s": NOW,
            "nonce": bytes(16),
        },
    )

    printed = capsys.readouterr().out
    assert printed.startswith(
        "table sales: count, mean of (price), filtered by (zipcode), where price <= 500000;"
    )
    (shown,) = re.findall(r"```\n(sales: .*?)```", PAGE, re.DOTALL)
    assert shown in printed


def test_its_steps_are_the_steps_of_the_code() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    sources = ("_link.py", "_verify.py", "_standing.py", "_invocation.py")
    text = "".join((SOURCE / name).read_text("utf-8") for name in sources)
    named = re.findall(r'(?:GrantRefused\(\s*|ROLLBACK: Final = |else )"(\w+)"', text)

    assert set(documented) == set(named)
    assert documented.index("presenter") < documented.index("signature")


def test_its_operations_are_in_the_order_of_the_bits() -> None:
    words = " ".join(operation.value for operation in Operation)

    assert f"of `{words}`" in PAGE


def test_its_ceilings_are_the_ceilings() -> None:
    rows = dict(re.findall(r"^\| ([A-Z]+) \| (.*) \|$", PAGE, re.MULTILINE))
    granted: set[str] = set()
    for pairing in (Pairing.INTERFACE, Pairing.USER, Pairing.INPUT):
        (words,) = re.findall("`(.*)`", rows[pairing.value])
        granted |= set(words.split())
        assert granted == {operation.value for operation in CEILING_OPERATIONS[pairing]}


def test_every_tag_of_the_registry_is_on_the_page() -> None:
    assert {tag.value for tag in Tag} <= set(re.findall(r"`(PSP1\.[a-z-]+)`", PAGE))
