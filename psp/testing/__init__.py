"""Helpers for tests of psp and of what is built on it (docs/testing.md)."""

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
