"""Memory that results lie in: mapped, counted, lent for reading, and used again."""

from ._account import Account as Account
from ._account import process_account as process_account
from ._arrow_check import Layout as Layout
from ._arrow_check import arrow_layout_untrusted as arrow_layout_untrusted
from ._arrow_out import Piece as Piece
from ._arrow_out import arrow_pieces as arrow_pieces
from ._buffer import Lease as Lease
from ._buffer import ResultBuffer as ResultBuffer
from ._columns import Columns as Columns
from ._columns import import_pyarrow as import_pyarrow
from ._limits import KEPT_BYTES_MAX as KEPT_BYTES_MAX
from ._limits import MEMORY_BYTES_MAX as MEMORY_BYTES_MAX
from ._mapped_file import MappedFile as MappedFile
from ._pool import Buffers as Buffers
from ._pool import Share as Share
from ._sealed import SealedFile as SealedFile
