"""One function for both doors: an archive that nobody serves, and one that is served."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trio

from psp import errors
from psp.endpoint import connect_local
from psp.errors import ArchiveError, ArchiveInUse, CallFailed, NotPaired, PSPError
from psp.values import Value

from ._archive import Archive
from ._hand_over import brought_back, handed_over
from ._ingest import Progress
from ._limits import CHANGE_S_MAX
from ._manifest import Manifest
from ._manifest_file import read_manifest
from ._operations import TAKE_A_FILE, Operations

CONTROL_DIRECTORY: Final = "control"


def administer(
    directory: Path,
    operation: str,
    *arguments: Value,
    doing: str,
    progress: Progress | None = None,
) -> Value:
    """Do one operation on an archive: through its control socket while it is served, else here.

    The lock on the directory decides which. Called outside trio.

    Args:
        operation: A method of `Operations`, with its `arguments`.
        doing: What to tell others who want to write meanwhile.
        progress: Told of rows as they come, where the work is done here.

    Raises:
        ArchiveError: No archive is here, another process that does not serve it has it, or the
            operation says so.
        EstateError: The control socket is not this user's.
    """
    try:
        archive = Archive.open(directory, doing=doing)
    except ArchiveInUse as exc:
        return _hand_on(directory, operation, list(arguments), exc)
    with archive:
        method = Operations.psp_methods[operation]
        method.check_arguments(arguments)
        done: Value = method.function(Operations(archive, progress), *arguments)
        return done


def _hand_on(
    directory: Path, operation: str, arguments: list[Value], in_use: ArchiveInUse
) -> Value:
    if operation not in TAKE_A_FILE:
        return trio.run(_through_socket, directory, operation, arguments, in_use)
    file = Path(str(arguments[0]))
    with handed_over(directory, file) as staged:
        staged_arguments = [str(staged), *arguments[1:]]
        try:
            done = trio.run(_through_socket, directory, operation, staged_arguments, in_use)
        except ArchiveError as exc:
            # It may name the list of refused rows, which is brought to where the file came from.
            raise type(exc)(str(exc).replace(str(staged.parent), str(file.parent))) from None
    if isinstance(done, dict) and done.get("refused_rows"):
        return {**done, "refused_rows": str(brought_back(Path(str(done["refused_rows"])), file))}
    return done


def manifest_of(directory: Path) -> Manifest:
    """Read an archive's manifest as it is now, whoever has the archive open.

    Raises:
        ArchiveError: There is none, or it cannot be read.
    """
    path = directory / "manifest.toml"
    try:
        return read_manifest(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as exc:
        raise ArchiveError(
            f"{path} cannot be read ({exc}); without it {directory} is no archive. Check the path."
        ) from exc


async def _through_socket(
    directory: Path, operation: str, arguments: list[Value], in_use: ArchiveInUse
) -> Value:
    archive_id = manifest_of(directory).archive_id
    raised: PSPError | None = None
    async with connect_local(directory / CONTROL_DIRECTORY, archive_id=archive_id) as connection:
        if connection is None:
            raise in_use  # It is open and not served: by a person's command, or an audit.
        try:
            reply = await connection.bootstrap.call(
                "do", operation, arguments, timeout_s=CHANGE_S_MAX
            )
        except NotPaired:
            reply, raised = None, in_use
        except CallFailed as exc:
            reply, raised = None, _lost(directory, operation, exc)
    if raised is not None:
        raise raised from None
    assert isinstance(reply, dict)
    if "refused" in reply:
        kind = getattr(errors, str(reply["kind"]), ArchiveError)
        is_known = kind is errors.CapabilityError or (
            isinstance(kind, type) and issubclass(kind, (ArchiveError, errors.EstateError))
        )
        raise (kind if is_known else ArchiveError)(str(reply["refused"]))
    done: Value = reply["done"]
    return done


def _lost(directory: Path, operation: str, exc: CallFailed) -> ArchiveError:
    return ArchiveError(
        f"the process that serves {directory} did not say what became of {operation!r} ({exc})."
        f" It is done whole or not at all: look at `psp ledger show`, then try again."
    )
