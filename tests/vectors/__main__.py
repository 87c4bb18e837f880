"""Write the cases anew: `python -m tests.vectors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ._grants import ANCHOR, ARCHIVE, CHAINS, EPOCH, MEETS, REFUSALS
from ._invalid import INVALID
from ._live import LIVE_CONTROLLER, LIVE_SUBJECT
from ._sessions import SESSIONS
from ._valid import VALID

GRANTS: Final = Path(__file__).parent / "grants.json"
HOME: Final = Path(__file__).parents[2] / "psp" / "conformance" / "cases"

ABOUT: Final[dict[str, tuple[str, list[dict[str, Any]]]]] = {
    "frames_valid": (
        "Bodies of frames that `receiver` must take, and what each decodes to: the kind, then its"
        " places. `live`: a subject also takes it as the first frame after the HELLO.",
        VALID,
    ),
    "frames_invalid": (
        "Bodies that `receiver` must answer with ABORT or by closing, and with nothing else, and"
        " the rule that each breaks.",
        INVALID,
    ),
    "sessions": (
        "Sessions, byte for byte. A step is bytes `from` one side (`frames` says what they are), or"
        " what the program `at` one side `does` or `sees`. `plays`: the sides that do"
        " all this; the other may be a liar. Texts and correlation ids of errors are free.",
        SESSIONS,
    ),
    "live_subject": (
        "What `python -m psp.conformance subject` says to a live subject, after a greeting unless"
        " `ungreeted`, and what must come back. `needs`: what the operator must name.",
        LIVE_SUBJECT,
    ),
    "live_controller": (
        "What `python -m psp.conformance controller` says to a live controller once it has asked,"
        " after a greeting unless `ungreeted`, and what it must do.",
        LIVE_CONTROLLER,
    ),
}


def write() -> None:
    for name, (about, cases) in ABOUT.items():
        lines = [
            json.dumps({"number": number, **case}, ensure_ascii=True)
            for number, case in enumerate(cases, start=1)
        ]
        # One case a line: a change of one is a change of one line.
        text = f'{{"about": {json.dumps(about)},\n"cases": [\n' + ",\n".join(lines) + "\n]}\n"
        (HOME / f"{name}.json").write_text(text, encoding="ascii")
    GRANTS.write_text(grants(), encoding="ascii")


def grants() -> str:
    """Write the cases of grants, which are no part of the protocol between peers."""
    facts = {
        "about": "Tokens that an archive accepts, meets of two scopes, and tokens that it refuses"
        " at a check (docs/capabilities.md). Bytes are in hex; times are seconds since 1970.",
        "anchor_key": ANCHOR.key.hex(),
        "archive": ARCHIVE.hex(),
        "epoch": EPOCH,
    }
    parts = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in facts.items()]
    for name, cases in (("chains", CHAINS), ("meets", MEETS), ("refusals", REFUSALS)):
        lines = [
            json.dumps({"number": number, **case}) for number, case in enumerate(cases, start=1)
        ]
        parts.append(f'"{name}": [\n' + ",\n".join(lines) + "\n]")
    return "{" + ",\n".join(parts) + "}\n"


if __name__ == "__main__":
    write()
