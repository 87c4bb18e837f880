"""How far a ledger surely reaches, for whoever looks at it beside its writer."""

from __future__ import annotations

from ._checkpoint import Checkpoint, verify_checkpoint_untrusted
from ._files import Files
from ._journal import decode_journal_untrusted
from ._limits import JOURNAL_BYTES, NOTE_BYTES_MAX
from ._state import CHECKPOINT, JOURNAL


def settled_in(files: Files, *, origin: str, public_key: bytes) -> Checkpoint:
    """Give the newest checkpoint that its writer knows, and that no crash can take back.

    The last batch of a journal may be neither yet: it is seen here before it is synced. All before
    it are both, because a writer begins no batch before the last one is synced and in its memory.
    Whichever moment the two files are of, what is given was acknowledged.

    Raises:
        CheckpointRejected: It is not signed by that key for that origin.
        LedgerError: A file is missing or damaged, or was being written.
    """
    batches = decode_journal_untrusted(files.read(JOURNAL, bytes_max=JOURNAL_BYTES)).batches
    if len(batches) > 1:
        note = batches[-2].note
    else:
        note = files.read(CHECKPOINT, bytes_max=NOTE_BYTES_MAX)
    return verify_checkpoint_untrusted(note, origin=origin, public_key=public_key)
