"""What mypy makes of stubs: run on a snippet whose comments say what it must find, and no more.

A line with `# error: CODE` must have that error, one with `# is: TYPE` that revealed type, and
every other line none.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

SNIPPET = """
from decimal import Decimal

from psp.endpoint import ByteStream, Promise, Reference, Result, Stub, remote
from psp.values import Value


class Original(Stub):
    @remote
    def proof(self, tree_size: int) -> Result[list[bytes]]: ...


class Contract(Stub):
    @remote
    def original(self) -> Original: ...

    @remote
    def total(self, year: int, currency: str = "USD") -> Result[Decimal]: ...

    @remote
    def terms(self) -> Promise[dict[str, Value]]: ...

    @remote
    def months(self) -> Promise[int]: ...

    @remote
    def scan(self, page: int = ...) -> Result[ByteStream]: ...

    @remote
    def compare(self, other: "Contract", year: int | Promise[int]) -> Result[bool]: ...


async def right(reference: Reference) -> None:
    contract = Contract.of(reference)
    reveal_type(contract)  # is: Contract
    reveal_type(contract.original())  # is: Original
    reveal_type(contract.original().proof(8))  # is: Result[list[bytes]]
    reveal_type(await contract.original().proof(8))  # is: list[bytes]
    reveal_type(await contract.original())  # is: Original
    reveal_type(await contract.total(2026, currency="EUR"))  # is: Decimal
    reveal_type(await contract.months())  # is: int
    reveal_type(await contract.scan())  # is: ByteStream
    reveal_type(await contract.compare(contract, contract.months()))  # is: bool
    await contract.compare(contract, 2026)
    async with contract.original() as original:
        reveal_type(original)  # is: Original


async def wrong(contract: Contract, reference: Reference) -> None:
    contract.totl(2026)  # error: attr-defined
    contract.total("2026")  # error: arg-type
    contract.total()  # error: call-arg
    contract.total(2026, colour="red")  # error: call-arg
    contract.compare(contract.original(), 2026)  # error: arg-type
    contract.compare(contract, contract.total(2026))  # error: arg-type
    contract.total(2026).proof(8)  # error: attr-defined
    contract.total(2026).call("round")  # error: attr-defined
    contract.total(2026)["cents"]  # error: index
    total: int = await contract.total(2026)  # error: assignment
    contract.total(2026) + 1  # error: operator
    Contract(reference)  # error: abstract
    Contract.of(2026)  # error: arg-type
"""


def found_by_mypy(directory: Path, pytestconfig: pytest.Config) -> dict[int, list[str]]:
    """What mypy says of each line of the snippet, in the settings that psp itself is checked in."""
    file = directory / "snippet.py"
    file.write_text(SNIPPET, "utf-8")
    cache = pytestconfig.cache.mkdir("mypy") if pytestconfig.cache else file.parent
    root = str(pytestconfig.rootpath / "pyproject.toml")
    out, err, _ = api.run([str(file), "--config-file", root, "--cache-dir", str(cache)])
    assert not err
    said: dict[int, list[str]] = {}
    for line in out.splitlines():
        parts = re.fullmatch(r".*snippet\.py:(\d+): (?:error|note): (.*)", line)
        if parts is not None:
            said.setdefault(int(parts[1]), []).append(_short(parts[2]))
    return said


def _short(message: str) -> str:
    """`is: TYPE` for a revealed type, `error: CODE` for an error, without the modules of names."""
    if (revealed := re.fullmatch(r'Revealed type is "(.*)"', message)) is not None:
        return "is: " + re.sub(r"[\w.]+\.(\w+)", r"\1", revealed[1])
    code = re.search(r"\[([\w-]+)\]$", message)
    return f"error: {code[1]}" if code else message


@pytest.mark.slow
def test_the_right_calls_pass_and_each_wrong_one_is_the_error_it_says(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    lines = SNIPPET.splitlines()
    found = found_by_mypy(tmp_path, pytestconfig)

    assert {lines[number - 1].strip(): said for number, said in found.items()} == {
        line.strip(): [line.split("  # ")[1]] for line in lines if "  # " in line
    }
