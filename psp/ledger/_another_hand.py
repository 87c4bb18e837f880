"""Ledgers that another program wrote: C2SP tlog-tiles as published, without our journal."""

from __future__ import annotations

from pathlib import Path

from psp.errors import LedgerError

from ._checkpoint import decode_body_untrusted
from ._files import Files
from ._journal import encode_top
from ._ledger import Ledger
from ._limits import JOURNAL_BYTES, NOTE_BYTES_MAX
from ._note import VerifierKey, parse_note_untrusted
from ._state import CHECKPOINT, JOURNAL


def open_published(directory: Path, *, ledger: VerifierKey) -> Ledger:
    """Open for reading a ledger that is all in its tiles, as other programs write them.

    What is checked is what `Ledger.open` checks, but for the journal, which only PSP keeps.

    Raises:
        CheckpointRejected: The checkpoint is not signed by that key.
        LedgerError: A file is missing or damaged, or there is a journal: then the tiles are not all
            of it.
    """
    files = _WithoutJournal(directory)
    if files.exists(JOURNAL):
        raise LedgerError(
            f"{files.name(JOURNAL)} is there, so this is a ledger of PSP and its tiles may lag"
            " behind. Open it as such."
        )
    return Ledger.open_on(files, origin=ledger.name, public_key=ledger.public_key)


class _WithoutJournal(Files):
    """Files with a journal that says: nothing is pending."""

    def read(self, path: str, *, bytes_max: int) -> bytes:
        if path != JOURNAL:
            return super().read(path, bytes_max=bytes_max)
        # Who signed it is checked where the checkpoint is read; here only its size is needed.
        note = parse_note_untrusted(super().read(CHECKPOINT, bytes_max=NOTE_BYTES_MAX))
        base = decode_body_untrusted(note.text).tree_size
        return encode_top(base).ljust(JOURNAL_BYTES, b"\0")
