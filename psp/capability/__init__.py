"""Who may ask what: grants that are signed, bounded in time, and only ever narrower.

Pure: no clock, no entropy, no file, no socket. docs/capabilities.md tells how to think about it.
"""

from ._anchor import Anchor as Anchor
from ._anchor import archive_id_of as archive_id_of
from ._anchor import sign_anchor as sign_anchor
from ._anchor import verify_anchor_untrusted as verify_anchor_untrusted
from ._ceiling import CEILING_OPERATIONS as CEILING_OPERATIONS
from ._ceiling import Pairing as Pairing
from ._ceiling import ceiling as ceiling
from ._describe import describe as describe
from ._domain import NOTHING as NOTHING
from ._domain import Between as Between
from ._domain import Bound as Bound
from ._domain import DomainValue as DomainValue
from ._domain import Kind as Kind
from ._domain import OneOf as OneOf
from ._domain import RowDomain as RowDomain
from ._domain import StartsWith as StartsWith
from ._domain import as_written as as_written
from ._domain import between as between
from ._domain import one_of as one_of
from ._domain import starts_with as starts_with
from ._invocation import Command as Command
from ._invocation import Invocation as Invocation
from ._invocation import hash_commands as hash_commands
from ._invocation import sign_invocation as sign_invocation
from ._invocation import verify_invocation_untrusted as verify_invocation_untrusted
from ._issue import issue as issue
from ._issue import narrow as narrow
from ._keys import SigningKey as SigningKey
from ._keys import Verifier as Verifier
from ._keys import check_prime_order as check_prime_order
from ._keys import check_public_key as check_public_key
from ._keys import fingerprint as fingerprint
from ._keys import spki_hash_of as spki_hash_of
from ._keys import verify_signature as verify_signature
from ._limits import UNLIMITED as UNLIMITED
from ._link import NEVER_SEEN as NEVER_SEEN
from ._link import Chain as Chain
from ._link import Link as Link
from ._link import Seen as Seen
from ._link import decode_chain_untrusted as decode_chain_untrusted
from ._scope import ROUNDING_LADDER as ROUNDING_LADDER
from ._scope import Operation as Operation
from ._scope import Scope as Scope
from ._scope import TableRule as TableRule
from ._sentence import domain_words as domain_words
from ._sentence import scope_sentence as scope_sentence
from ._text import token_from_text_untrusted as token_from_text_untrusted
from ._text import token_to_text as token_to_text
from ._verify import Grant as Grant
from ._verify import verify_untrusted as verify_untrusted
