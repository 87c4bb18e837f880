"""Who may import whom: the rule of the house, as data."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PSP = Path(__file__).parent.parent / "psp"

BASE = {"errors", "_version"}
MACHINE = {"durable"}
VALUES = BASE | {"values", "visible"}
SERVING = VALUES | {"buffers", "capability", "ledger", "plan"}
WIRE = VALUES | {"wire"}
RPC = WIRE | {"rpc"}
TRANSPORT = RPC | MACHINE | {"transport", "buffers", "capability"}
ENDPOINT = TRANSPORT | {"endpoint"}

# Each part of psp, and the parts that it may import beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "_version": set(),
    "durable": set(),
    "visible": set(),
    "values": BASE,
    "capability": VALUES,
    "ledger": VALUES | MACHINE,
    "plan": VALUES | {"capability"},
    "buffers": BASE,
    "wire": VALUES,
    "rpc": WIRE,
    "transport": TRANSPORT,
    "endpoint": ENDPOINT,
    # The doors: the same names for programs that wait, and for asyncio.
    "aio": ENDPOINT,
    "blocking": ENDPOINT,
    # These three never import each other: they meet on the wire.
    "totebox": ENDPOINT | SERVING,
    "aggregator": ENDPOINT | SERVING,
    "console": VALUES,
    "testing": ENDPOINT | SERVING | {"totebox"},
    "estate": ENDPOINT | SERVING | {"totebox", "aggregator"},
    "attack": ENDPOINT | SERVING | {"totebox", "aggregator", "estate"},
    "demo": ENDPOINT | SERVING | {"totebox", "aggregator", "console", "estate", "testing"},
    "conformance": ENDPOINT,
    "cli": ENDPOINT
    | SERVING
    | {"totebox", "aggregator", "console", "estate", "attack", "demo", "conformance", "testing"},
    "__main__": {"cli"},
    "__init__": ENDPOINT | SERVING | {"aio", "blocking", "totebox", "aggregator", "estate"},
}

PURE = {"errors", "values", "visible", "capability", "wire", "rpc", "plan"}
# What a pure part may not touch: waiting, the clock, chance, and the machine.
IMPURE_MODULES = {
    *("trio", "socket", "ssl", "time", "random", "secrets", "os", "threading"),
    *("subprocess", "asyncio", "select", "pathlib", "tempfile", "shutil"),
}


def imports(source: str) -> Iterator[str]:
    """Every module that a source imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level < 2, "`..` is never needed: absolute imports cross a border"
            if node.level == 0 and node.module:
                # With the name: in `from psp import rpc` it is the module, and so is a private one.
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(part: str, source: str) -> list[str]:
    """The imports of one source that the rule forbids."""
    found = []
    for module in imports(source):
        top, *rest = module.split(".")
        if top == "psp":
            # No target is `import psp`: the front door leads everywhere and is for users.
            target = rest[0] if rest else ""
            if target != part and target not in MAY_IMPORT[part]:
                found.append(f"{part} may not import {module}")
            if any(name.startswith("_") and not name.startswith("__") for name in rest[1:]):
                found.append(f"{module} is private to its folder")
        elif part in PURE and top in IMPURE_MODULES:
            found.append(f"{part} is pure and may not import {module}")
    return found


def sources() -> list[tuple[str, Path]]:
    return [
        (path.relative_to(PSP).parts[0].removesuffix(".py"), path)
        for path in sorted(PSP.rglob("*.py"))
    ]


@pytest.mark.parametrize(
    ("part", "path"), [pytest.param(*s, id=str(s[1].relative_to(PSP))) for s in sources()]
)
def test_every_module_imports_only_what_its_layer_may(part: str, path: Path) -> None:
    assert violations(part, path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("rpc", "import trio"),
        ("capability", "def now():\n    from time import time\n    return time()"),
        ("totebox", "from psp.aggregator import Fleet"),
        ("console", "import psp.totebox"),
        ("wire", "from psp.rpc import Controller"),
        ("endpoint", "from psp.rpc._tables import Table"),
        ("endpoint", "from psp.rpc import _tables"),
        ("totebox", "from psp import aggregator"),
        ("totebox", "import psp"),
        ("totebox", "from psp import Fleet"),
    ],
)
def test_a_planted_violation_is_found(part: str, source: str) -> None:
    assert violations(part, source) != []


@pytest.mark.parametrize("name", sorted(path.name for path in (PSP / "ledger").glob("*.py")))
def test_the_ledger_touches_the_machine_in_few_files(name: str) -> None:
    """So trees, proofs, notes and the journal's bytes can be checked without a disk."""
    found = {module.partition(".")[0] for module in imports((PSP / "ledger" / name).read_text())}
    assert found.isdisjoint(IMPURE_MODULES) is (
        name not in {"_files.py", "_ledger.py", "_another_hand.py", "_witness.py"}
    )
