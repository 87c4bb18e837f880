"""PSP: ask many sovereign archives one question.

    import psp

    with psp.Fleet("estate.toml") as fleet:
        print(fleet.ask("select member, count(*) from sales group by member"))

The names, by what you want to do:

- ask many archives: `Fleet`, `Answer`, `MemberState`
- talk to one archive: `connect`, `Connection`, `Address`, `Promise`, `Reference`
- expose objects of your own: `Exposed`, `method`, `serve`
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
    from psp.endpoint import Connection as Connection
    from psp.endpoint import Exposed as Exposed
    from psp.endpoint import Promise as Promise
    from psp.endpoint import Reference as Reference
    from psp.endpoint import connect as connect
    from psp.endpoint import method as method
    from psp.endpoint import serve as serve
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
    "Connection": "psp.endpoint",
    "Exposed": "psp.endpoint",
    "Promise": "psp.endpoint",
    "Reference": "psp.endpoint",
    "connect": "psp.endpoint",
    "method": "psp.endpoint",
    "serve": "psp.endpoint",
    "MachineKey": "psp.transport",
}

__all__ = ["CallFailed", "PSPError", "__version__", *_HOME]


def __getattr__(name: str) -> Any:
    """Load a public name from its home (PEP 562)."""
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'psp' has no attribute {name!r}") from None
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
