"""Several commands in one call: their form, and each on what the one before gave."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from psp.endpoint import Exposed, Stream, method
from psp.errors import Denied, Expired, Invalid
from psp.rpc import CallReady
from psp.totebox._commands import COMMANDS_MAX, commands_of, read_commands_untrusted, run_commands
from psp.values import Value


class Shelf(Exposed):
    """A shelf of shelves."""

    def __init__(self, depth: int = 0) -> None:
        self._depth = depth

    @method
    def shelf(self, step: int) -> Shelf:
        return Shelf(self._depth + step)

    @method
    async def waits(self) -> int:
        return self._depth

    @method
    def depth(self) -> int:
        return self._depth

    @method(inline=False)
    def slow(self) -> int:
        return self._depth

    @method
    def both(self) -> Mapping[str, Value | Exposed]:
        return {"a": Shelf(), "b": 1}

    @method
    async def flows(self) -> AsyncIterator[bytes]:
        yield b""

    @method
    def stream(self) -> Stream:
        return Stream(None, self.flows())

    @method
    def closed(self) -> int:
        raise Denied

    @method
    def guarded(self) -> Guarded:
        return Guarded()

    @method
    def works_for_a_stream(self) -> Stream:
        raise AssertionError("it was not to begin")

    def hidden(self) -> int:
        return 1


class Guarded(Exposed):
    """An object that refuses whoever does not say the word."""

    def check(self, call: CallReady) -> None:
        if call.arguments != ["please"]:
            raise Denied

    @method
    def enter(self, word: str) -> str:
        return word


async def run(*commands: Any) -> Value:
    return await run_commands(Shelf(), read_commands_untrusted(commands), lambda: None)


@pytest.mark.parametrize("last", ["depth", "waits", "slow"])
async def test_each_command_is_called_on_what_the_one_before_gave(last: str) -> None:
    assert await run(["shelf", [1]], ["shelf", [10]], [last, []]) == 11


async def test_a_failed_command_fails_the_call_as_itself() -> None:
    with pytest.raises(Denied):
        await run(["shelf", [1]], ["closed", []])


@pytest.mark.parametrize(
    ("commands", "says"),
    [
        ([["shelf", [1]]], "into the same commands"),
        ([["both", []]], "into the same commands"),
        ([["depth", []], ["depth", []]], "command 2 has nothing"),
        ([["both", []], ["depth", []]], "command 2 has nothing"),
        ([["flows", []]], "gives a stream"),
        ([["stream", []]], "gives a stream"),
        ([["hidden", []]], "no method 'hidden'"),
        ([["__init__", []]], "no method"),
        ([["shelf", []]], "takes 1 argument"),
        ([["shelf", ["1"]]], "needs int"),
    ],
)
async def test_what_cannot_be_called_or_given_is_invalid(commands: list[Any], says: str) -> None:
    with pytest.raises(Invalid, match=says):
        await run(*commands)


async def test_before_every_command_it_is_asked_whether_it_may() -> None:
    left = 2

    def check_open() -> None:
        nonlocal left
        if not left:
            raise Expired
        left -= 1

    commands = read_commands_untrusted([["shelf", [1]], ["shelf", [1]], ["depth", []]])
    with pytest.raises(Expired):
        await run_commands(Shelf(), commands, check_open)


@pytest.mark.parametrize(
    "wire",
    [
        [],
        [["m", []]] * (COMMANDS_MAX + 1),
        ["m"],
        [["m"]],
        [["m", [], []]],
        [["m", None]],
        [["m", {"0": 1}]],
        [[b"m", []]],
        [None],
        [["m", []], ["run", [[["m", []]]]]],
    ],
)
def test_what_are_no_commands_is_invalid(wire: list[Any]) -> None:
    with pytest.raises(Invalid):
        read_commands_untrusted(wire)
    with pytest.raises(Invalid):
        commands_of("run", [wire])


@pytest.mark.parametrize("arguments", [[], [None], [[["m", []]], 1], [{"m": []}]])
def test_run_takes_one_list(arguments: list[Any]) -> None:
    with pytest.raises(Invalid):
        commands_of("run", arguments)


def test_what_is_signed_is_what_is_done() -> None:
    """A relay may carry one command either way; it is the same command."""
    assert commands_of("m", [1]) == commands_of("run", [[["m", [1]]]]) == [("m", [1])]
    assert commands_of("run", [[["a", []], ["b", [2]]]]) == [("a", []), ("b", [2])]


def test_as_many_commands_as_the_limit_says_are_read() -> None:
    assert len(read_commands_untrusted([["m", []]] * COMMANDS_MAX)) == COMMANDS_MAX


async def test_an_object_on_the_way_is_asked_whether_it_takes_the_call() -> None:
    assert await run(["guarded", []], ["enter", ["please"]]) == "please"
    with pytest.raises(Denied):
        await run(["guarded", []], ["enter", ["now"]])


async def test_what_gives_a_stream_is_refused_before_it_works() -> None:
    with pytest.raises(Invalid, match="gives a stream"):
        await run(["works_for_a_stream", []])
