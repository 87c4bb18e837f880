"""A file for an archive that is being served: its process can see nothing outside its directory.

So the command, which runs as the person who names the file, puts it where that process can look: a
hard link where the disk allows it, a copy elsewhere. What the archive leaves beside it, the list of
refused rows, is brought back.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from psp.errors import IntakeRefused

from ._assets import INPUT_DIRECTORY, open_input

_PREFIX: Final = ".handed-"


@contextmanager
def handed_over(directory: Path, file: Path) -> Iterator[Path]:
    """Give the path under which an archive's own process can read a file.

    Raises:
        IntakeRefused: It cannot be read, or the disk has no room for a copy.
    """
    if file.resolve().is_relative_to(directory.resolve()):
        yield file
        return
    with open_input(file):
        pass  # Refused here, in the words that a person expects.
    place = directory.resolve() / INPUT_DIRECTORY / f"{_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        _remove_left_over(place.parent)
        place.mkdir(mode=0o700)
        staged = place / file.name
        try:
            os.link(file, staged, follow_symlinks=True)
        except OSError:  # Another disk, or somebody else's file.
            shutil.copyfile(file, staged)
    except OSError as exc:
        shutil.rmtree(place, ignore_errors=True)
        raise IntakeRefused(
            f"{file.name} cannot be handed to the archive ({exc.strerror}). Free space, or stop the"
            " archive first."
        ) from exc
    try:
        yield staged
    finally:
        for left in place.iterdir():
            if left != staged:
                shutil.move(left, brought_back(left, file))
        shutil.rmtree(place)


def brought_back(left: Path, file: Path) -> Path:
    """Give the path at which a person finds what was left beside a staged file."""
    return file.with_name(left.name)


def _remove_left_over(parent: Path) -> None:
    """Remove what commands that were killed had handed over."""
    parent.mkdir(exist_ok=True)
    for place in parent.glob(f"{_PREFIX}*"):
        number = place.name.removeprefix(_PREFIX).partition("-")[0]
        if number.isdigit() and not Path("/proc", number).exists():
            shutil.rmtree(place, ignore_errors=True)
