"""The archive: one directory that takes files in, seals them, and answers about them."""

from __future__ import annotations

from ._add_table import add_table as add_table
from ._administer import administer as administer
from ._administer import manifest_of as manifest_of
from ._archive import Archive as Archive
from ._at_rest import AtRest as AtRest
from ._at_rest import read_at_rest as read_at_rest
from ._corrections import retract as retract
from ._documents import DOCUMENTS as DOCUMENTS
from ._documents import SealedDocument as SealedDocument
from ._documents import seal_document as seal_document
from ._engine import Engine as Engine
from ._founding import ledger_origin as ledger_origin
from ._ingest import Ingested as Ingested
from ._integrity import audit_archive as audit_archive
from ._manifest import Column as Column
from ._manifest import ColumnType as ColumnType
from ._manifest import Manifest as Manifest
from ._manifest import State as State
from ._manifest import Table as Table
from ._manifest_file import read_manifest as read_manifest
from ._manifest_file import table_to_dict as table_to_dict
from ._owner import epoch_of as epoch_of
from ._owner import hear_untrusted as hear_untrusted
from ._pack import Packed as Packed
from ._pack import pack as pack
from ._pack import unpack as unpack
from ._pairing import Pairing as Pairing
from ._pairing import read_pairings as read_pairings
from ._read_audit import READS_DIRECTORY as READS_DIRECTORY
from ._read_audit import reads_origin as reads_origin
from ._receipts import Read as Read
from ._receipts import Receipt as Receipt
from ._receipts import decode_read_untrusted as decode_read_untrusted
from ._receipts import hash_result as hash_result
from ._receipts import verify_receipt_untrusted as verify_receipt_untrusted
from ._reconciled import share_secret as share_secret
from ._report import Report as Report
from ._report import Severity as Severity
from ._schema import propose_table as propose_table
from ._serve import serve_archive as serve_archive
