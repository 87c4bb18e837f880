"""`psp key` as a person types it, and an estate whose owner's keys are sealed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest

from psp.transport import MachineKey, Passphrase

from .conftest import Ran, psp_command

pytestmark = pytest.mark.slow

WORDS = "correct horse battery staple"


def run_with(directory: Path, lines: str, *arguments: str) -> Ran:
    """Run `psp` without a terminal and with these lines on a file descriptor."""
    reading, writing = os.pipe()
    os.write(writing, lines.encode())
    os.close(writing)
    try:
        done = subprocess.run(
            psp_command(*arguments, "--passphrase-fd", str(reading)),
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            pass_fds=[reading],
            start_new_session=True,
        )
    finally:
        os.close(reading)
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_key_is_made_shown_and_sealed_anew_by_descriptor(
    tmp_path: Path, psp: Callable[..., Ran]
) -> None:
    made = json.loads(run_with(tmp_path, f"{WORDS}\n", "key", "new", "root.key", "--json").out)
    shown = json.loads(psp("key", "show", "root.key", "--json").out)
    assert made == shown
    assert shown["sealed"] == "scrypt n=131072 r=8 p=1, chacha20-poly1305"
    assert shown["fingerprint"].startswith("SHA256:")

    wrong = run_with(tmp_path, "wrong\nnew\n", "key", "passphrase", "root.key")
    assert (wrong.status, "this is not the passphrase" in wrong.sentence) == (1, True)
    assert run_with(tmp_path, f"{WORDS}\nother\n", "key", "passphrase", "root.key").status == 0
    opened = MachineKey.load(tmp_path / "root.key", lambda path: Passphrase("other"))
    assert opened.public_bytes.hex() == made["public_key"]
    assert run_with(tmp_path, "other\n", "key", "passphrase", "root.key", "--remove").status == 0
    assert "not sealed" in psp("key", "show", "root.key").out


def test_at_a_terminal_it_is_asked_twice_and_not_shown(tmp_path: Path) -> None:
    def new() -> pexpect.spawn[str]:
        return pexpect.spawn(
            f"{sys.executable} -m psp key new root.key",
            cwd=str(tmp_path),
            encoding="utf-8",
            timeout=60,
        )

    for again, expected in (("different", "the two passphrases differ"), (WORDS, "fingerprint")):
        terminal = new()
        terminal.expect("New passphrase: ")
        terminal.sendline(WORDS)
        terminal.expect("The same again: ")
        terminal.sendline(again)
        terminal.expect(expected)
        said = terminal.before + terminal.read()
        assert WORDS not in said
    assert MachineKey.load(tmp_path / "root.key", lambda path: Passphrase(WORDS))


def test_without_a_terminal_nothing_is_asked_and_nothing_made(tmp_path: Path) -> None:
    done = subprocess.run(
        psp_command("key", "new", "root.key"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert (done.returncode, "--passphrase-fd 3 3< FILE" in done.stderr) == (1, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("lines", "said"), [("", "this one has 0"), ("x" * 5000, "more than 4096 bytes")]
)
def test_a_descriptor_must_hold_a_passphrase(tmp_path: Path, lines: str, said: str) -> None:
    refused = run_with(tmp_path, lines, "key", "new", "root.key")
    assert (refused.status, said in refused.sentence) == (1, True)


def test_a_descriptor_that_is_not_open_is_named(tmp_path: Path, psp: Callable[..., Ran]) -> None:
    refused = psp("key", "new", "root.key", "--passphrase-fd", "77")
    assert (refused.status, "file descriptor 77" in refused.sentence) == (1, True)


def test_an_estate_with_sealed_keys_is_served_to_who_has_the_passphrase(
    tmp_path: Path, files: list[Path], psp: Callable[..., Ran]
) -> None:
    names = [str(file) for file in files]
    made = run_with(
        *(tmp_path, f"{WORDS}\n", "estate", "new", "homes", "--yes", "--encrypt-keys"),
        *("--from", *names),
    )
    assert made.status == 0, made.err
    for name in ("root", "anchor", "operator"):
        assert "scrypt" in psp("key", "show", f"homes/keys/{name}.key").out
    wrong = run_with(tmp_path, "wrong\n", "up")
    assert (wrong.status, "this is not the passphrase" in wrong.sentence) == (1, True)

    up = pexpect.spawn(
        f"{sys.executable} -m psp up", cwd=str(tmp_path), encoding="utf-8", timeout=60
    )
    up.expect("Passphrase of .*anchor.key: ")
    up.sendline(WORDS)
    up.expect("3 serving")
    answer = psp("ask", "select count(*) from homes", "--json")
    assert answer.status == 0, answer.err
    up.sendintr()
    up.expect(pexpect.EOF)
