"""How much an object holds on to: what a leak makes larger, whatever table it hides in."""

from __future__ import annotations

import gc
from enum import Enum
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType

# What is shared by all: code, classes, modules. It is not the connection's.
_SHARED = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, Enum)


def weigh(root: object) -> int:
    """Count the objects that can be reached from `root`, and bytes by the hundred."""
    seen = {id(root)}
    waiting = [root]
    weight = 0
    while waiting:
        found = waiting.pop()
        weight += 1
        if isinstance(found, bytes | bytearray | str):
            weight += len(found) // 100
        for child in gc.get_referents(found):
            if id(child) not in seen and not isinstance(child, _SHARED):
                seen.add(id(child))
                waiting.append(child)
    return weight
