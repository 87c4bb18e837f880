"""`psp grant` as people type it; the recipes of docs/capabilities.md run here."""

from __future__ import annotations

import json
import re
import shlex
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zxingcpp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.capability import UNLIMITED, decode_chain_untrusted, token_from_text_untrusted
from psp.transport import MachineKey

from .conftest import Ran

pytestmark = pytest.mark.slow

PAGE = (Path(__file__).parents[2] / "docs" / "capabilities.md").read_text("utf-8")
RECIPES = PAGE[PAGE.index("## Recipes") : PAGE.index("## Policy tests")]
BOX = "homes/archives/sales"
ANCHOR = "homes/keys/anchor.key"
HOLDER = "homes/tenants/owner/machine.key"


@pytest.fixture
def homes(tmp_path: Path, psp: Callable[..., Ran]) -> Path:
    rows = [f"{n},{90_000 + 21_000 * n},{98004 + n % 2},person {n}" for n in range(1, 21)]
    (tmp_path / "sales.csv").write_text("\n".join(["id,price,zipcode,buyer", *rows, ""]))
    assert psp("estate", "new", "homes", "--from", "sales.csv", "--yes").status == 0
    tenant = MachineKey(Ed25519PrivateKey.generate())
    (tmp_path / "tenant.pem").write_text(tenant.certificate_pem, "ascii")
    for text in re.findall(r"```toml\n(.*?)```", RECIPES, re.DOTALL):
        name = text.partition("\n")[0].removeprefix("# ")
        (tmp_path / name).write_text(text, "utf-8")
    return tmp_path


def typed(line: str, folder: Path, psp: Callable[..., Ran]) -> Ran:
    """Run one line of the page; `>` is all of a shell that it uses."""
    words, _, target = line.partition(" > ")
    command, *arguments = shlex.split(words)
    assert command == "psp"
    ran = psp(*arguments)
    if target:
        (folder / target).write_text(ran.out, "ascii")
    return ran


def flat(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_the_recipes_run_and_allow_what_the_page_says(homes: Path, psp: Callable[..., Ran]) -> None:
    blocks = re.findall(r"```sh\n(.*?)```\n```\n(.*?)\n```", RECIPES, re.DOTALL)
    assert len(blocks) == 3
    for commands, allowed in blocks:
        for line in commands.splitlines():
            ran = typed(line, homes, psp)
            assert ran.status == 0, ran.err
        assert flat(allowed) in flat(ran.out)

    refused = psp("grant", "verify", "tenant.token", "--archive", BOX)
    assert refused.status == 1
    assert "refused at the check presenter" in refused.out
    assert "passed before it: size, decode, archive, critical, chain" in refused.out


@pytest.fixture
def token(homes: Path, psp: Callable[..., Ran]) -> Path:
    told = psp("grant", "issue", "lender.toml", "--archive", BOX, "--key", ANCHOR, "--to", "owner",
               "--until", "2h", "--depth", "1")  # fmt: skip
    (homes / "a.token").write_text(told.out, "ascii")
    return homes / "a.token"


def test_showing_says_who_and_what_and_never_the_signature(
    token: Path, psp: Callable[..., Ran]
) -> None:
    shown = psp("grant", "show", "a.token", COLUMNS="165")
    facts = json.loads(psp("grant", "show", "a.token", "--json").out)
    data = token_from_text_untrusted(token.read_text("ascii"))
    signature = data[-64:]

    assert "Nothing here is verified" in shown.out
    assert "allows     table homes: meta, count, mean of (price)" in shown.out
    assert "1 more may follow" in shown.out
    for told in (shown.out, json.dumps(facts)):
        assert signature.hex() not in told
        assert not re.search("[A-Z2-7]{48}", told)
    assert facts["links"][0]["more_may_follow"] == 1


def test_verifying_names_the_check_and_uses_nothing_up(
    token: Path, psp: Callable[..., Ran], homes: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in sorted((homes / BOX).rglob("*"))}
    mail = "Dear Ana,\r\n" + "".join(f"> {it} \r\n" for it in token.read_text("ascii").splitlines())
    accepted = psp("grant", "verify", "-", "--archive", BOX, "--json", stdin=mail)
    told = json.loads(accepted.out)

    assert (accepted.status, told["ok"], told["presenter"]) == (0, True, "owner")
    assert "link 0, table homes: exists, sum" in told["taken_away"][0]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    lines = token.read_text("ascii").splitlines()
    damaged = psp("grant", "show", "-", stdin="\n".join(lines[:3] + lines[4:]))
    assert re.search(r"line 3 of \d+ is damaged or missing", damaged.sentence)
    unknown = psp("grant", "verify", "a.token", "--archive", BOX, "--presenter", "bob")
    assert "'bob' is not paired with this archive; owner is" in unknown.sentence


def test_widening_a_key_that_holds_nothing_and_a_wrong_scope_are_not_signed(
    token: Path, psp: Callable[..., Ran], homes: Path
) -> None:
    narrow = ("grant", "narrow", "a.token", "--to", "tenant.pem")

    for refused, says in [
        (psp(*narrow, "--key", ANCHOR), "does not hold this grant"),
        (psp(*narrow, "--key", HOLDER, "--output", "buyer"), "does not allow table homes: output"),
        (psp(*narrow, "--key", HOLDER, "--until", "3h"), "leaves the parent's"),
        (psp(*narrow, "--key", HOLDER, "--until", "soon"), "is no time; write 15m"),
    ]:
        assert refused.out == ""
        assert says in refused.sentence
    for change, says in [
        (("price", "prices"), "names the column 'prices'; 'homes' has id, price"),
        (("floor = 10", "rows = \"zipcode = '98004'\""), "'zipcode' holds integer values"),
    ]:
        scope = (homes / "lender.toml").read_text("utf-8").replace(*change)
        (homes / "wrong.toml").write_text(scope, "utf-8")
        issued = psp("grant", "issue", "wrong.toml", "--archive", BOX, "--key", ANCHOR, "--to",
                     "owner")  # fmt: skip
        assert says in issued.sentence
    stranger = psp("grant", "issue", "lender.toml", "--archive", BOX, "--key", HOLDER, "--to",
                   "owner")  # fmt: skip
    assert "is no anchor key of" in stranger.sentence
    unknown = psp("grant", "issue", "lender.toml", "--archive", BOX, "--key", ANCHOR, "--to",
                  "bob")  # fmt: skip
    assert "'bob' is neither a machine that is paired" in unknown.sentence
    assert "there are owner" in unknown.sentence


def test_a_narrower_grant_has_a_budget_of_its_own(token: Path, psp: Callable[..., Ran]) -> None:
    narrow = ("grant", "narrow", "a.token", "--to", "tenant.pem", "--key", HOLDER)
    less = {"rounding": 10, "rows-max": 50, "groups-max": 5, "bytes-max": 4096, "uses-total": 20,
            "rows-total": 60, "bytes-total": 8192}  # fmt: skip
    told = psp(*narrow, *(word for name, most in less.items() for word in (f"--{name}", str(most))))
    given = decode_chain_untrusted(token_from_text_untrusted(told.out)).leaf.scope.tables["homes"]
    plain = decode_chain_untrusted(token_from_text_untrusted(psp(*narrow).out)).leaf.scope

    assert {name: getattr(given, name.replace("-", "_")) for name in less} == less
    assert plain.tables["homes"].uses_total == UNLIMITED
    for wrong in ("--rounding=7", "--uses-total=0"):
        refused = psp(*narrow, wrong)
        assert (refused.out, "this cannot be granted" in refused.sentence) == ("", True)


def test_a_code_is_read_back_by_another_hand(token: Path, psp: Callable[..., Ran]) -> None:
    data = token_from_text_untrusted(token.read_text("ascii"))
    drawn = psp("grant", "show", "a.token", "--qr", COLUMNS="165")
    assert psp("grant", "show", "a.token", "--qr-file", "a.png").status == 0
    assert psp("grant", "show", "a.token", "--qr-file", "a.svg").status == 0

    for pixels in (pixels_of_png(token.with_name("a.png")), pixels_of_blocks(drawn.out)):
        assert token_from_text_untrusted(scanned(pixels)) == data
    assert "<svg" in token.with_name("a.svg").read_text("utf-8")
    narrow = psp("grant", "show", "a.token", "--qr", COLUMNS="60")
    assert "and the terminal has 60" in narrow.sentence
    assert "use .png or .svg" in psp("grant", "show", "a.token", "--qr-file", "a.gif").sentence


def scanned(pixels: list[bytes]) -> str:
    image = memoryview(bytearray(b"".join(pixels))).cast("B", (len(pixels), len(pixels[0])))
    (code,) = zxingcpp.read_barcodes(image)
    return str(code.text)


def pixels_of_png(file: Path) -> list[bytes]:
    """Read a PNG of one bit a pixel, as segno writes it."""
    data, at, header, packed = file.read_bytes(), 8, b"", b""
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        header = body if kind == b"IHDR" else header
        packed += body if kind == b"IDAT" else b""
        at += size + 12
    width, height, depth, *_ = struct.unpack(">IIBBBBB", header)
    assert depth == 1
    raw, step = zlib.decompress(packed), 1 + (width + 7) // 8
    rows, above = [], bytes(step - 1)
    for row in range(height):
        kind_of_row, *line = raw[row * step : (row + 1) * step]
        assert kind_of_row in (0, 2), "a filter that is not undone here"
        if kind_of_row:  # Each byte less the one above it.
            line = [(byte + up) & 255 for byte, up in zip(line, above, strict=True)]
        above = bytes(line)
        rows.append(bytes(255 * (above[x // 8] >> (7 - x % 8) & 1) for x in range(width)))
    return rows


def pixels_of_blocks(text: str, scale: int = 3) -> list[bytes]:
    """Look at half blocks as a camera does, where ink is light on a dark terminal."""
    light = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
    pixels = []
    for line in text.splitlines():
        for half in (0, 1):
            row = bytes(light[letter][half] for letter in line for _ in range(scale))
            pixels += [row] * scale
    return pixels
