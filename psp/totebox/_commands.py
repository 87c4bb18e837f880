"""Several commands in one call: each is applied to what the one before gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import CoroutineType
from typing import Final, cast

import trio

from psp.capability import Command
from psp.endpoint import Exposed, Stream
from psp.errors import Invalid
from psp.rpc import AnswerId, CallReady
from psp.values import Value

RUN: Final = "run"
"""The method that carries them."""

COMMANDS_MAX: Final = 8
"""From a grant to the proof of one row's original are five; a longer chain is a program."""

_SHOWN_NAME_CHARACTERS: Final = 40


def commands_of(method: str, arguments: Sequence[Value]) -> list[Command]:
    """Give what a call does, in the form in which a holder signs it.

    A call of `run` does what it carries, any other does itself. The two never meet, since `run` is
    not among the commands that it carries.

    Raises:
        Invalid: It is a call of `run`, and carries no commands.
    """
    if method != RUN:
        return [(method, arguments)]
    if len(arguments) != 1 or type(arguments[0]) is not list:
        raise Invalid(
            "run takes one list of commands. Call it as run([[method, [argument, …]], …])"
        )
    return read_commands_untrusted(arguments[0])


def read_commands_untrusted(wire: Sequence[Value]) -> list[Command]:
    """Read the commands that `run` carries.

    Raises:
        Invalid: They are none, too many, or not commands. Nothing else is raised.
    """
    if not 1 <= len(wire) <= COMMANDS_MAX:
        raise Invalid(f"run takes 1 to {COMMANDS_MAX} commands, and the call has {len(wire)}")
    return [_read_command(place, command) for place, command in enumerate(wire, 1)]


def _read_command(place: int, wire: Value) -> Command:
    match wire:
        case [str() as name, list() as arguments] if name != RUN:
            return name, arguments
    raise Invalid(
        f"command {place} is not [method, [argument, …]] with a method other than {RUN!r}. Write"
        " every command in this form, and all of them in one list"
    )


async def run_commands(
    target: Exposed, commands: Sequence[Command], check_open: Callable[[], None]
) -> Value:
    """Call the first command on `target`, each further one on what came; give the last value.

    Args:
        check_open: Asked before every command; raises when no more may run.

    Raises:
        CallFailed: As the command that failed; `Invalid` if one has nothing to be called on.
    """
    found: object = target
    for place, (name, arguments) in enumerate(commands, 1):
        if not isinstance(found, Exposed):
            raise Invalid(
                f"command {place} has nothing to be called on: the one before gave a value. End"
                " the commands there"
            )
        check_open()
        if place > 1 and found.psp_is_checked:
            found.check(_call_of(found, name, arguments))
        found = await _apply(found, name, arguments)
    if _holds_object(found):
        raise Invalid(
            "the last command gave a reference, and run answers with a value. Put the next call"
            " into the same commands"
        )
    if isinstance(found, Stream):
        raise _no_stream()
    return cast(Value, found)


async def _apply(target: Exposed, name: str, arguments: Sequence[Value]) -> object:
    # As for any call: the table made at class definition, never getattr with a name from the wire.
    method = target.psp_methods.get(name)
    if method is None:
        shown = name[:_SHOWN_NAME_CHARACTERS]
        raise Invalid(f"there is no method {shown!r} here. Check its name in the documentation")
    method.check_arguments(arguments)
    if method.gives_stream:  # Before it works, spends and is put on record.
        raise _no_stream()
    if method.is_async:
        return await method.function(target, *arguments)
    if method.is_inline:
        found = method.function(target, *arguments)
        return await found if isinstance(found, CoroutineType) else found
    return await trio.to_thread.run_sync(method.function, target, *arguments)


def _call_of(target: Exposed, name: str, arguments: Sequence[Value]) -> CallReady:
    """The call that this command would be if it came by itself: an object may refuse it."""
    return CallReady(
        AnswerId(0),
        target,
        name,
        [*arguments],
        deadline_ms=0,
        grant_tag=None,
        invocation=None,
        accept_bytes=0,
        flags=0,
    )


def _no_stream() -> Invalid:
    return Invalid("a command gives a stream, and run answers with a value. Call it by itself")


def _holds_object(found: object) -> bool:
    if isinstance(found, Mapping):
        return any(isinstance(item, Exposed) for item in found.values())
    return isinstance(found, Exposed)
