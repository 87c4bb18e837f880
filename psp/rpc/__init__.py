"""The RPC core of both roles: bytes in, events out; calls in, bytes out. No I/O of any kind."""

from ._answers import Exported as Exported
from ._controller import Controller as Controller
from ._events import ERROR as ERROR
from ._events import REFERENCE as REFERENCE
from ._events import VALUE as VALUE
from ._events import Aborted as Aborted
from ._events import CallReady as CallReady
from ._events import Cancelled as Cancelled
from ._events import ControllerEvent as ControllerEvent
from ._events import GoingAway as GoingAway
from ._events import HelloReceived as HelloReceived
from ._events import Opaque as Opaque
from ._events import PresentReceived as PresentReceived
from ._events import Returned as Returned
from ._events import SubjectEvent as SubjectEvent
from ._ids import BOOTSTRAP as BOOTSTRAP
from ._ids import AnswerId as AnswerId
from ._ids import ExportId as ExportId
from ._ids import Path as Path
from ._ids import QuestionId as QuestionId
from ._ids import Target as Target
from ._subject import Subject as Subject
