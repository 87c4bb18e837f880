"""The steps of a live case, and how each is carried out on a line.

A live case is told from our side: what we say, and what the peer must do. Its frames are JSON, as
in the other files, with three additions: "*" stands for anything, {"as": name} for anything that
is remembered, and {"use": name} for what was remembered or given on the command line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from psp.wire import CALL, CHUNK, FRAMES, FrameWriter, Places

from ._cases import from_hex
from ._limits import LEAVING_FRAMES_MAX
from ._line import Line
from ._outcome import Failed, Skipped
from ._render import from_json, to_json

Names = MutableMapping[str, Any]

_SAYS_ONLY_ABORT: Final = "ABORT, or the end of the connection"
_NAMES: Final = {shape.kind: shape.name for shape in FRAMES}
_ABORTS: Final = {7, 19}
_CLOSING: Final = 3
# What a controller may say while it takes its leave: it gives back, and says goodbye.
_LEAVING: Final = {3, 4, 5}


def filled(written: Any, names: Mapping[str, Any]) -> Any:
    """Put what the names stand for where they are used."""
    if isinstance(written, list):
        return [filled(item, names) for item in written]
    if isinstance(written, dict):
        if written.keys() == {"use"}:
            return names[written["use"]]
        return {key: filled(item, names) for key, item in written.items()}
    return written


def frame_bytes(written: Sequence[Any], names: Mapping[str, Any]) -> bytes:
    """Encode one frame of a script. Its values are ours, and nothing is checked: that is the
    point of some of them."""
    writer = FrameWriter()
    places = from_json(filled(written, names))
    if places[0] == CHUNK:
        writer.add(bytes([CHUNK]) + places[1].to_bytes(8, "big") + places[2])
    else:
        writer.write(places)
    return writer.take()


def matches(pattern: Any, found: Any, names: Names) -> bool:
    """Whether a frame, as JSON, is what a pattern says."""
    if pattern == "*":
        return True
    if isinstance(pattern, dict) and pattern.keys() == {"as"}:
        names[pattern["as"]] = found
        return True
    if isinstance(pattern, dict) and pattern.keys() == {"one_of"}:
        return any(matches(each, found, names) for each in pattern["one_of"])
    if isinstance(pattern, list):
        return (
            isinstance(found, list)
            and len(found) == len(pattern)
            and all(matches(*pair, names) for pair in zip(pattern, found, strict=True))
        )
    return bool(filled(pattern, names) == found)


def told(places: Places | None) -> str:
    """A frame in a few words, for a report."""
    if places is None:
        return "the end of the connection"
    shown = str(to_json(list(places[1:])))
    return f"{_NAMES[places[0]]} {shown[:200]}"


async def say(line: Line, step: Mapping[str, Any], names: Names) -> None:
    data = b"".join(frame_bytes(frame, names) for frame in step["say"])
    await line.say(data, byte_by_byte=step.get("byte_by_byte", False))


async def say_hex(line: Line, step: Mapping[str, Any], names: Names) -> None:
    await line.say(from_hex(step["say_hex"]))


async def hear(line: Line, step: Mapping[str, Any], names: Names) -> None:
    """Hear these frames and no other; in any order, because answers may end in any."""
    missing = list(step["hear"])
    while missing:
        places = await line.hear()
        found = None if places is None else to_json(list(places))
        fits = next((each for each in missing if matches(each, found, names)), None)
        if fits is None:
            expected = " or ".join(f"{_NAMES[each[0]]} {each[1:]}" for each in missing[:3])
            raise Failed(f"it sent {told(places)}; expected {expected}")
        missing.remove(fits)


async def alive(line: Line, step: Mapping[str, Any], names: Names) -> None:
    """Ask for a PONG: everything that was said before it has been read by then."""
    names["ping"] = names.get("ping", 1000) + 1
    await say(line, {"say": [[6, names["ping"]]]}, names)
    await hear(line, {"hear": [[21, names["ping"]]]}, names)


async def ends(line: Line, step: Mapping[str, Any], names: Names) -> None:
    """The peer ends the connection; it may say ABORT first, and nothing else."""
    places = await line.hear()
    if places is None:
        return
    if places[0] not in _ABORTS:
        raise Failed(f"it sent {told(places)}; expected {_SAYS_ONLY_ABORT}")
    if places[1] not in step["ends"]:
        raise Failed(f"it sent ABORT {places[1]}; expected ABORT {step['ends']}")
    if (after := await line.hear()) is not None:
        raise Failed(f"it sent {told(after)} after its ABORT")


async def stream(line: Line, step: Mapping[str, Any], names: Names) -> None:
    """Hear CHUNKs until they are so many bytes; never one more."""
    left = step["bytes"]
    while left:
        places = await line.hear()
        if places is None or places[0] != CHUNK or places[1] != step["stream"]:
            raise Failed(f"it sent {told(places)}; expected {left} more bytes of the stream")
        left -= len(places[2])
        if left < 0:
            raise Failed(f"it sent {-left} bytes more than its credit")


async def leaves(line: Line, step: Mapping[str, Any], names: Names) -> None:
    """The controller is content: it closes, and complains of nothing."""
    for _ in range(LEAVING_FRAMES_MAX):
        if (places := await line.hear()) is None:
            return
        if places[0] == 7 and places[1] == _CLOSING:
            continue
        if places[0] == CALL:
            raise Failed("it asked a second question; make it ask `health` once and close")
        if places[0] not in _LEAVING:
            raise Failed(f"it sent {told(places)} to a frame that is lawful")
    raise Failed(f"it sent {LEAVING_FRAMES_MAX} frames and did not close")


async def unless_raised(line: Line, step: Mapping[str, Any], names: Names) -> None:
    """Go on only if the peer's HELLO left this limit as it is."""
    if step["unless_raised"] in names["limits"]:
        raise Skipped(f"its HELLO raises {step['unless_raised']}")


Do = Callable[[Line, Mapping[str, Any], Names], Awaitable[None]]

STEPS: Final[Mapping[str, Do]] = {
    "say": say,
    "say_hex": say_hex,
    "hear": hear,
    "alive": alive,
    "ends": ends,
    "stream": stream,
    "leaves": leaves,
    "unless_raised": unless_raised,
}


async def play(line: Line, steps: Sequence[Mapping[str, Any]], names: Names) -> None:
    """Carry out the steps of a case.

    Raises:
        Failed: The peer did what it must not do.
        Skipped: The case does not fit this peer.
    """
    for step in steps:
        kind = next(name for name in STEPS if name in step)
        await STEPS[kind](line, step, names)
