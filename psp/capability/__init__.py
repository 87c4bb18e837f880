"""Who may ask what: grants that are signed, bounded in time, and only ever narrower.

Pure: no clock, no entropy, no file, no socket. docs/capabilities.md tells how to think about it.
"""

from ._domain import NOTHING as NOTHING
from ._domain import Between as Between
from ._domain import Bound as Bound
from ._domain import DomainValue as DomainValue
from ._domain import Kind as Kind
from ._domain import OneOf as OneOf
from ._domain import RowDomain as RowDomain
from ._domain import StartsWith as StartsWith
from ._domain import between as between
from ._domain import one_of as one_of
from ._domain import starts_with as starts_with
from ._limits import UNLIMITED as UNLIMITED
from ._scope import ROUNDING_LADDER as ROUNDING_LADDER
from ._scope import Operation as Operation
from ._scope import Scope as Scope
from ._scope import TableRule as TableRule
