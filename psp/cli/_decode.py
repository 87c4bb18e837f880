"""`psp decode`: what crossed a connection, one aligned line for each frame."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from psp.conformance import to_json
from psp.endpoint import Recorder, Redacted, redacted
from psp.errors import EstateError
from psp.wire import FRAMES, Places, Role

from ._capture import SENDERS, Entry, read_capture_untrusted, shown

_NAMES: Final = {shape.kind: shape.name for shape in FRAMES}
_IN_COLUMNS: Final = {"s", "from", "frame", "bytes"}


def decode(
    file: Path,
    /,
    *,
    sender: Annotated[Literal["controller", "subject"] | None, Parameter(name="--from")] = None,
    hex: Annotated[bool, Parameter(negative=())] = False,
    reveal: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Print a capture of a connection: one line for each frame, without any value.

    Parameters
    ----------
    file
        A capture that a recorder wrote, or the raw bytes of one direction.
    sender
        Whose raw bytes the file holds.
    hex
        The raw bytes are written as hex digits.
    reveal
        Show the values too. Only of raw bytes: a capture has none.
    """
    if sender is None:
        if hex or reveal:
            raise EstateError(
                "--hex and --reveal are for raw bytes, and a capture was asked for."
                " Say whose bytes they are with --from controller or --from subject."
            )
        entries = read_capture_untrusted(file)
    else:
        entries = _decoded_untrusted(_raw(file, is_hex=hex), Role(sender), reveal=reveal)
    for entry in entries:
        sys.stdout.write(line_of(entry) + "\n")


def line_of(entry: Entry) -> str:
    """Write one line of a capture for a person."""
    size = entry.get("bytes", "")
    rest = "  ".join(
        f"{shown(name)} {shown(value)}" for name, value in entry.items() if name not in _IN_COLUMNS
    )
    head = f"{entry['s']:>12.6f}  {SENDERS[entry['from']]} {shown(entry['frame']):<10}"
    return f"{head} {shown(size):>7} B  {rest}".rstrip()


def _raw(file: Path, *, is_hex: bool) -> bytes:
    try:
        data = file.read_bytes()
        return bytes.fromhex(data.decode("ascii")) if is_hex else data
    except OSError as exc:
        raise EstateError(f"{file} cannot be read ({exc.strerror}). Check the path.") from exc
    except ValueError as exc:
        raise EstateError(f"{file} is not hex digits. Leave --hex out if it is binary.") from exc


def _decoded_untrusted(data: bytes, sender: Role, *, reveal: bool) -> Iterator[Entry]:
    lines: list[str] = []
    recorder = Recorder(
        lines.append,
        role=sender,
        clock=lambda: 0.0,
        redact=_revealed if reveal else redacted,
    )
    recorder("out", data)
    recorder.close()
    return map(jsonlib.loads, lines)


def _revealed(places: Places) -> Redacted:
    """Everything, as ASCII: whoever has the raw bytes has their values already."""
    return {"frame": _NAMES[places[0]], "says": jsonlib.dumps(to_json(list(places[1:])))}
