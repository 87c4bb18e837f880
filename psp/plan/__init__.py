"""The small query plan: what may be asked of an archive, and the question it comes from."""

from ._algebra import Figure as Figure
from ._algebra import combine as combine
from ._algebra import combine_rows as combine_rows
from ._listing import Listing as Listing
from ._plan import MEASURE_OPERATIONS as MEASURE_OPERATIONS
from ._plan import Bucket as Bucket
from ._plan import Filter as Filter
from ._plan import GroupKey as GroupKey
from ._plan import Measure as Measure
from ._plan import Plan as Plan
from ._question import MEMBER as MEMBER
from ._question import Arithmetic as Arithmetic
from ._question import Constant as Constant
from ._question import Expression as Expression
from ._question import GroupValue as GroupValue
from ._question import MeasureValue as MeasureValue
from ._question import MemberName as MemberName
from ._question import Order as Order
from ._question import Output as Output
from ._question import Question as Question
from ._scope_document import rows_from_sql as rows_from_sql
from ._scope_document import scope_from_document as scope_from_document
from ._sql import plan_from_sql as plan_from_sql
