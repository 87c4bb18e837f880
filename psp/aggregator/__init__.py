"""Ask many archives one question, and combine what they answer. Keeps nothing."""

from ._answer import Answer as Answer
from ._answer import plain as plain
from ._breaker import Breaker as Breaker
from ._breaker import BreakerState as BreakerState
from ._breaker import RetryBudget as RetryBudget
from ._coming import Coming as Coming
from ._doors import AsyncFleet as AsyncFleet
from ._doors import BlockingFleet as BlockingFleet
from ._doors import Fleet as Fleet
from ._fleet import AskOptions as AskOptions
from ._fleet import TrioFleet as TrioFleet
from ._fleet import open_fleet as open_fleet
from ._outcome import MemberState as MemberState
from ._outcome import Outcome as Outcome
from ._outcome import absent_to_dict as absent_to_dict
from ._reply import Part as Part
from ._reply import ReadReceipt as ReadReceipt
from ._reply import Reply as Reply
from ._reply import Withheld as Withheld
from ._require import Require as Require
from ._roster import Member as Member
from ._roster import Roster as Roster
from ._roster import Tenant as Tenant
from ._select import Selection as Selection
from ._status import EstateStatus as EstateStatus
from ._status import Health as Health
