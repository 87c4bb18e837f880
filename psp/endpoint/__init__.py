"""The two ends of a connection: connect and hold promises, or expose objects and serve."""

from ._address import Address as Address
from ._connect import connect as connect
from ._connection import Connection as Connection
from ._connection import Statistics as Statistics
from ._exposed import Exposed as Exposed
from ._exposed import method as method
from ._failures import printable as printable
from ._middleware import CallSeen as CallSeen
from ._middleware import Middleware as Middleware
from ._portal import Portal as Portal
from ._promise import Promise as Promise
from ._promise import Reference as Reference
from ._recorder import Recorder as Recorder
from ._recorder import Redacted as Redacted
from ._recorder import redacted as redacted
from ._serve import serve as serve
from ._spans import spans as spans
