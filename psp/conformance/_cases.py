"""The numbered cases, read from their JSON (docs/conformance.md says what each field means)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, NamedTuple

FILES: Final = (
    "frames_valid",
    "frames_invalid",
)


class Case(NamedTuple):
    """One case of one file.

    Attributes:
        name: The file and the number, such as `frames_invalid 12`: what a report names.
        words: What it shows, for a person.
        data: Everything else that the file says of it.
    """

    name: str
    words: str
    data: Mapping[str, Any]

    def is_named(self, name: str) -> bool:
        """Whether a name means this case: its own, its file's, or none at all."""
        return name in ("", self.name, self.name.partition(" ")[0])


def load(file: str) -> list[Case]:
    """Read one file of cases, in the order of their numbers."""
    text = files("psp.conformance").joinpath("cases", f"{file}.json").read_text("utf-8")
    return [
        Case(f"{file} {case['number']}", case["words"], case) for case in json.loads(text)["cases"]
    ]


def from_hex(written: str | Sequence[str | Mapping[str, Any]]) -> bytes:
    """Give the bytes of a case: hex, or parts of which some are repeated."""
    return b"".join(_pieces([written] if isinstance(written, str) else written))


def _pieces(parts: Sequence[str | Mapping[str, Any]]) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, str):
            yield bytes.fromhex(part)
        else:
            yield bytes.fromhex(part["repeat"]) * part["times"]
