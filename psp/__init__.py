"""PSP: ask many sovereign archives one question.

    import psp

    with psp.Fleet("estate.toml") as fleet:
        print(fleet.ask("select member, count(*) from sales group by member"))

The names, by what you want to do:

- ask many archives: `Fleet`, `Answer`, `MemberState`
- talk to one archive: `connect`, `Connection`, `Address`, `Promise`, `Reference`
- the same from a program that waits, or from asyncio: `blocking`, `aio`
- type what you call: `Stub`, `remote`, `Result`, `ByteStream`
- expose objects of your own: `Exposed`, `method`, `serve`
- count, time or trace calls: `CallSeen`, `Middleware`, `spans`
- keys and grants: `MachineKey`, `Grant`, `Scope`, `TableRule`, `Operation`, `issue`, `narrow`
- what can go wrong: `psp.errors`, all of it below `PSPError`

Names are loaded when they are first used: `import psp` alone stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from psp._version import __version__ as __version__
from psp.errors import CallFailed as CallFailed
from psp.errors import PSPError as PSPError

if TYPE_CHECKING:
    from psp import aio as aio
    from psp import blocking as blocking
    from psp.aggregator import Answer as Answer
    from psp.aggregator import Fleet as Fleet
    from psp.aggregator import MemberState as MemberState
    from psp.capability import Grant as Grant
    from psp.capability import Operation as Operation
    from psp.capability import Scope as Scope
    from psp.capability import TableRule as TableRule
    from psp.capability import issue as issue
    from psp.capability import narrow as narrow
    from psp.endpoint import Address as Address
    from psp.endpoint import ByteStream as ByteStream
    from psp.endpoint import CallSeen as CallSeen
    from psp.endpoint import Connection as Connection
    from psp.endpoint import Exposed as Exposed
    from psp.endpoint import Middleware as Middleware
    from psp.endpoint import Promise as Promise
    from psp.endpoint import Reference as Reference
    from psp.endpoint import Result as Result
    from psp.endpoint import Stub as Stub
    from psp.endpoint import connect as connect
    from psp.endpoint import method as method
    from psp.endpoint import remote as remote
    from psp.endpoint import serve as serve
    from psp.endpoint import spans as spans
    from psp.transport import MachineKey as MachineKey

_HOME = {
    "Answer": "psp.aggregator",
    "Fleet": "psp.aggregator",
    "MemberState": "psp.aggregator",
    "Grant": "psp.capability",
    "Operation": "psp.capability",
    "Scope": "psp.capability",
    "TableRule": "psp.capability",
    "issue": "psp.capability",
    "narrow": "psp.capability",
    "Address": "psp.endpoint",
    "ByteStream": "psp.endpoint",
    "CallSeen": "psp.endpoint",
    "Connection": "psp.endpoint",
    "Exposed": "psp.endpoint",
    "Middleware": "psp.endpoint",
    "Promise": "psp.endpoint",
    "Reference": "psp.endpoint",
    "Result": "psp.endpoint",
    "Stub": "psp.endpoint",
    "connect": "psp.endpoint",
    "method": "psp.endpoint",
    "remote": "psp.endpoint",
    "serve": "psp.endpoint",
    "spans": "psp.endpoint",
    "MachineKey": "psp.transport",
}

# Modules of names, which are the same names through another door.
_DOORS = ("aio", "blocking")

__all__ = ["CallFailed", "PSPError", "__version__", *_DOORS, *_HOME]


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    if name in _DOORS:
        return import_module(f"psp.{name}")
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'psp' has no attribute {name!r}") from None
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
