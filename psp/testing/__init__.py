"""Helpers for tests of psp and of what is built on it (docs/testing.md).

`Archive` is loaded when it is first used: it alone needs the libraries of an archive.
"""

from __future__ import annotations

import importlib
import typing

from ._clock import VirtualClock as VirtualClock
from ._far import Far as Far
from ._link import Link as Link
from ._link import Way as Way
from ._loopback import Loopback as Loopback
from ._loopback import loopback as loopback
from ._pair import Pair as Pair
from ._scripted import Hear as Hear
from ._scripted import ScriptedPeer as ScriptedPeer
from ._scripted import frame_bytes as frame_bytes
from ._virtual import VirtualHost as VirtualHost
from ._virtual import VirtualNetwork as VirtualNetwork

if typing.TYPE_CHECKING:
    from ._archive import Archive as Archive
    from ._archive import Seen as Seen
    from ._policy import Outcome as Outcome
    from ._policy import Policy as Policy
    from ._policy import read_policy as read_policy

_LATER = {
    "Archive": "_archive",
    "Seen": "_archive",
    "Outcome": "_policy",
    "Policy": "_policy",
    "read_policy": "_policy",
}


def __getattr__(name: str) -> typing.Any:
    if name not in _LATER:
        raise AttributeError(f"module 'psp.testing' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(f"psp.testing.{_LATER[name]}"), name)
    return value
