"""Every limit of tokens and scopes, each with its reason.

A token is read before anybody has proven anything, so these bound what a stranger can make an
archive do. Most are part of the format: raising one is a new version of it.
"""

from __future__ import annotations

from typing import Final

LINKS_MAX: Final = 4
"""Anchor to operator to console or aggregator to tenant, and no further. A longer chain is a
delegation that nobody can explain to the owner whose data it opens."""

BODY_BYTES_MAX: Final = 1024
"""One link, without its signature. 21 column names and their row domains take about 500 bytes; a
scope that needs more belongs into two grants."""

DECODED_LINKS_MAX: Final = 256
"""Bodies whose reading is remembered: some 10 KiB each with their scope. A console and its archives
see the same few again at every renewal and reconnection; a stranger can only push them out."""

KEYS_REMEMBERED_MAX: Final = 1024
"""Keys that were found sound, or are ready to verify with: a fleet and its people, under 2 MiB."""

MEETS_REMEMBERED_MAX: Final = 512
"""Meets of two scopes whose result is remembered, some 4 KiB each: two for each body above. Also
only ever pushed out, never wrong: a meet depends on nothing but the two."""

SIGNATURE_BYTES: Final = 64
KEY_BYTES: Final = 32
HASH_BYTES: Final = 32
NONCE_BYTES: Final = 16

# Per link: the body, the signature, and 1 + 3 + 2 bytes of array and byte-string headers.
TOKEN_BYTES_MAX: Final = 1 + LINKS_MAX * (BODY_BYTES_MAX + SIGNATURE_BYTES + 6)
"""4,377 bytes. Looked at before anything else, so a stranger's bytes cost microseconds."""

FIRST_LINK_SECONDS_MAX: Final = 7 * 24 * 3600
"""Seven days for the operator: a week of holidays, and the bound on how long a revocation must be
remembered."""

LINK_SECONDS_MAX: Final = 24 * 3600
"""One day for every further link. A console that runs renews its links long before."""

NOT_BEFORE_LEEWAY_S: Final = 30
"""A signer's clock may run ahead by this much. There is none on the other end: a grant that is
over is over."""

INVOCATION_SECONDS_MAX: Final = 60
"""A signed call is run within this time or never. So a captured aggregator can hold one back for a
minute and no longer, and an archive remembers a nonce for a minute and no longer."""

INVOCATION_LEEWAY_S: Final = 2
"""A console's clock may run ahead by this much; machines whose clocks are kept differ by less than
one second. Not more, because whoever has just started must wait for it to pass (see
`verify_invocation_untrusted`). A console that runs ahead by more dates its calls back."""

# [body, signature]: 1 + 2 + 66 bytes around a body of 1 + 1 + 34 + 34 + 18 + 9 + 9 + 34.
INVOCATION_BYTES_MAX: Final = 209
"""The largest that the format can give. Looked at first, as with a token."""

TIME_S_MAX: Final = 2**53 - 1
"""The largest integer that every language's number can hold."""

EPOCH_MAX: Final = 2**32 - 1

UNLIMITED: Final = 2**53 - 1
"""The top of limits, per call and in all: the format has no null, and a minimum with this changes
nothing."""

MEMBERS_MAX: Final = 64
"""Values in one finite set. A meet of sets filters, so it never grows; a list of thousands of keys
is a table of its own, not a grant."""

NAME_BYTES_MAX: Final = 128
"""A table, column, object or method name; longer than any in PostgreSQL (63)."""

NAMES_REMEMBERED_MAX: Final = 1024
"""Names found fit to sign: the columns of a few hundred tables, 200 KiB at most."""

DOMAIN_TEXT_BYTES_MAX: Final = 256
"""One value or prefix in a row domain: four of them still fit a link."""

ANCHOR_KEYS_MAX: Final = 8
"""Keys that may sign first links of one archive; more than a handful is a list nobody reviews."""

ROOT_KEYS_MAX: Final = 8
"""Root keys of one owner: five of eight is a board; more cannot be gathered when it burns."""

SIGNERS_MAX: Final = 2 * ROOT_KEYS_MAX
"""Signatures under one statement: a rotation has those of the old keys and of the new ones."""

# Signatures 3 + 16 x (1 + 34 + 66), the longest body (a rotation) 1 + 1 + 34 + 5 + 1 + 1 + 8 x 34.
STATEMENT_BYTES_MAX: Final = 2048
"""One statement of an owner with all its signatures; 1,938 bytes can be needed."""

ROTATIONS_MAX: Final = 32
"""Root sets that one anchor statement can tell of after the first: all of them, so that it can be
checked from the archive's id alone. Two a year are sixteen years."""

# The body with 8 root and 8 anchor keys is 660 bytes, 16 signatures are 1,619.
ANCHOR_BYTES_MAX: Final = 3 * 1024 + ROTATIONS_MAX * (STATEMENT_BYTES_MAX + 3)
"""The anchor statement of an archive with its rotations; 67 KiB, read once from its own disk."""

PAIRING_CODE_BITS: Final = 30
"""What two people compare: three groups of ten bits. One who stands between two machines has one
try, because both ends give up after it: a chance of one in 1,073,741,824. Without the commitments
he could try in silence until it fits, which takes seconds for six digits."""

PAIRING_NAME_BYTES_MAX: Final = 64
"""As long as a peer's name in an archive."""

PAIRING_CERTIFICATE_BYTES_MAX: Final = 1024
"""Ours is some 330 bytes in DER; room for another implementation's names."""
