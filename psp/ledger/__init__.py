"""A ledger that anybody can check: RFC 6962 tree, C2SP tlog-tiles, signed checkpoints.

The format and its promises stand in docs/ledger.md.
"""

from __future__ import annotations

from ._another_hand import open_published as open_published
from ._checkpoint import Checkpoint as Checkpoint
from ._checkpoint import sign_checkpoint as sign_checkpoint
from ._checkpoint import verify_checkpoint_untrusted as verify_checkpoint_untrusted
from ._consistency import verify_consistency as verify_consistency
from ._cosignature import Cosignature as Cosignature
from ._cosignature import verify_cosignatures_untrusted as verify_cosignatures_untrusted
from ._cosignature import verify_quorum_untrusted as verify_quorum_untrusted
from ._cosignature import witness_key as witness_key
from ._inclusion import verify_inclusion as verify_inclusion
from ._ledger import Appended as Appended
from ._ledger import Ledger as Ledger
from ._ledger import check_ledger as check_ledger
from ._ledger import settled_checkpoint as settled_checkpoint
from ._limits import ENTRY_BYTES_MAX as ENTRY_BYTES_MAX
from ._limits import PROOF_FILE_BYTES_MAX as PROOF_FILE_BYTES_MAX
from ._note import Signer as Signer
from ._note import VerifierKey as VerifierKey
from ._note import decode_verifier_key_untrusted as decode_verifier_key_untrusted
from ._proof_file import ProofFile as ProofFile
from ._proof_file import Proven as Proven
from ._proof_file import decode_proof_file_untrusted as decode_proof_file_untrusted
from ._proof_file import verify_proof_file_untrusted as verify_proof_file_untrusted
from ._report import Finding as Finding
from ._report import LedgerReport as LedgerReport
from ._tree import hash_leaf as hash_leaf
from ._witness import Witness as Witness
