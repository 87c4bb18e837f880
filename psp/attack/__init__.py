"""Attacking one's own archives: real forgeries against what is really served, and what came of it.

It holds the owner's keys and so can forge better than any thief: everything about its tokens is
right but one thing. docs/threat-model.md says what is not tried.
"""

from ._report import NOT_TRIED as NOT_TRIED
from ._report import AttackReport as AttackReport
from ._report import Attempt as Attempt
from ._report import Verdict as Verdict
from ._run import attack_member as attack_member
from ._run import infer as infer
