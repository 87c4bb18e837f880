"""Telling members to do something: what, under which key, and what became of it with each.

One key stands for the whole command. It travels with every attempt, and each archive does what it
stands for once, so an attempt whose answer was lost is repeated without fear, by this process or by
the next one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final, cast

from psp.capability import CommandKey, sign_transition
from psp.errors import EstateError, Invalid, RemoteProtocolError
from psp.values import Value

from ._limits import APPEND_BYTES_MAX, WORDS_CHARACTERS_MAX
from ._line import Callee, Line
from ._outcome import MemberState, Outcome

_AFTER: Final = {"suspend": "suspended", "resume": "active"}
"""Commands that are transitions of an archive's state, and the state that they lead to."""

_STATES: Final = frozenset({"active", "suspended", "archived"})


@dataclass(frozen=True, slots=True)
class FleetCommand:
    """What members are told to do. Made by `audit`, `suspend`, `resume` and `append`."""

    name: str
    arguments: Mapping[str, Value] = field(default_factory=dict)

    @staticmethod
    def audit(*, sample: int | None = None) -> FleetCommand:
        """Have each archive look whether everything is still there, and put the result on record.

        Args:
            sample: How many originals to hash; all by default.
        """
        return FleetCommand("audit", {} if sample is None else {"sample": sample})

    @staticmethod
    def suspend() -> FleetCommand:
        """Let each archive answer nobody until it is resumed; health and proofs stay."""
        return FleetCommand("suspend")

    @staticmethod
    def resume() -> FleetCommand:
        """Let each suspended archive answer again."""
        return FleetCommand("resume")

    @staticmethod
    def append(file: Path, *, table: str, **options: str) -> FleetCommand:
        """Have each archive seal a small file: into a table, or as a document.

        Args:
            table: The table that its rows go to; `documents` seals it as it is.
            options: `null` for the rows of a CSV; `kind`, `date` and `counterparty` for a document.

        Raises:
            EstateError: It cannot be read, or is too large for a call.
        """
        try:
            content = file.read_bytes()
        except OSError as exc:
            raise EstateError(
                f"{file} cannot be read ({exc.strerror}), so it is appended nowhere. Check the path"
            ) from exc
        if len(content) > APPEND_BYTES_MAX:
            raise EstateError(
                f"{file} has {len(content):,} bytes, and a call brings {APPEND_BYTES_MAX:,}. Seal"
                " it where the archives are: psp archive ingest"
            )
        said = {name: text for name, text in options.items() if text}
        return FleetCommand(
            "append", {"table": table, "file": file.name, "content": content, **said}
        )


class Became(Enum):
    """What became of a command with one member."""

    FORESEEN = "foreseen"  # It was only asked what it would do.
    DONE = "done"
    ALREADY_DONE = "already done"  # By an earlier attempt under the same key.
    REFUSED = "refused"
    UNREACHABLE = "unreachable"  # No connection, or it ended before the answer: perhaps it is done.
    LATE = "late"  # No answer within the deadline: perhaps it is done.


_BECAME: Final = {MemberState.UNREACHABLE: Became.UNREACHABLE, MemberState.LATE: Became.LATE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What one member would do.

    Attributes:
        would: In words; a stranger's.
        right: By which right; likewise.
        state: Of the archive.
        transitions: How often its state was changed so far.
        done: The place of the entry that has done it under this key; None if nothing has.
    """

    would: str
    right: str
    state: str
    transitions: int
    done: int | None

    @property
    def member_state(self) -> MemberState:
        """What it makes of the member that gave it."""
        return MemberState.ANSWERED


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What one member has done, as its own ledger has it.

    Attributes:
        entry: The place of the entry in its ledger.
        time: When, by its clock.
        kind: Of the entry; docs/archive.md lists them.
        is_repeated: An earlier attempt under the same key did it.
        facts: What the entry tells.
    """

    entry: int
    time: str
    kind: str
    is_repeated: bool
    facts: Mapping[str, Value]

    @property
    def member_state(self) -> MemberState:
        """What it makes of the member that gave it."""
        return MemberState.ANSWERED


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """What became of a command with one member.

    Attributes:
        cause: Why it was not done; a stranger's words may be in it.
        foreseen: What it would do, if it was only asked.
        done: What it has done.
        attempts: How often it was tried; 0 if it was left alone because it had failed before.
    """

    member: str
    became: Became
    cause: str = ""
    foreseen: Foreseen | None = None
    done: Done | None = None
    attempts: int = 1

    @property
    def is_done(self) -> bool:
        """Whether it is done now, by whichever attempt."""
        return self.became in (Became.DONE, Became.ALREADY_DONE)

    def to_dict(self) -> dict[str, Any]:
        """The plain form, ready for JSON."""
        found: dict[str, Any] = {"member": self.member, "became": self.became.value}
        if self.cause:
            found["cause"] = self.cause
        if self.foreseen is not None:
            found |= {"would": self.foreseen.would, "right": self.foreseen.right}
            found |= {"state": self.foreseen.state}
        if self.done is not None:
            found |= {"entry": self.done.entry, "time": self.done.time, "kind": self.done.kind}
            found |= {"facts": dict(self.done.facts)}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandReport:
    """One command, and what became of it with every member that was told.

    Attributes:
        key: Give it again, with the same command, and nothing is done twice.
    """

    command: FleetCommand
    key: CommandKey
    outcomes: tuple[CommandOutcome, ...]

    @property
    def is_done(self) -> bool:
        """Whether every member has done it."""
        return all(outcome.is_done for outcome in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """The plain form, ready for JSON; without what was appended."""
        return {
            "command": self.command.name,
            "arguments": {
                name: value for name, value in self.command.arguments.items() if name != "content"
            },
            "key": str(self.key),
            "members": [outcome.to_dict() for outcome in self.outcomes],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One command on its way to members."""

    command: FleetCommand
    key: CommandKey
    deadline_s: float

    async def foresee(self, line: Line) -> Foreseen:
        """Ask one member what it would do.

        Raises:
            PSPError: Whatever the member or the way to it did.
        """
        _check_archive(line)

        async def ask(grant: Callee) -> Value:
            return await self._call(grant, True, b"")

        return _read_foreseen_untrusted(line.member.name, await line.ask(ask))

    async def do(self, line: Line) -> Done:
        """Have one member do it.

        Raises:
            PSPError: Whatever the member or the way to it did.
        """
        _check_archive(line)

        async def ask(grant: Callee) -> Value:
            return await self._call(grant, False, await self._statement(line, grant))

        return _read_done_untrusted(line.member.name, await line.ask(ask))

    async def _statement(self, line: Line, grant: Callee) -> bytes:
        """Sign the transition that a command is; nothing where it is none, or it was made."""
        if (after := _AFTER.get(self.command.name)) is None:
            return b""
        answer = await self._call(grant, True, b"")
        now = _read_foreseen_untrusted(line.member.name, answer)
        if now.done is not None or now.state == after:
            return b""
        return sign_transition(
            line.holder,
            archive_id=line.member.address.archive_id,
            number=now.transitions + 1,
            before=now.state,
            after=after,
        )

    async def _call(self, grant: Callee, is_preview: bool, statement: bytes) -> Value:
        answer = await grant.call(
            "do",
            self.command.name,
            dict(self.command.arguments),
            self.key.to_bytes(),
            is_preview,
            statement,
            timeout_s=self.deadline_s,
        )
        return cast(Value, answer)


def outcome_of(outcome: Outcome[Any]) -> CommandOutcome:
    """Say what became of a command with a member, from what became of the question."""
    reply = outcome.reply
    if isinstance(reply, Foreseen):
        became = Became.FORESEEN
    elif isinstance(reply, Done):
        became = Became.ALREADY_DONE if reply.is_repeated else Became.DONE
    else:
        became = _BECAME.get(outcome.state, Became.REFUSED)
    return CommandOutcome(
        member=outcome.member,
        became=became,
        cause=outcome.cause,
        foreseen=reply if isinstance(reply, Foreseen) else None,
        done=reply if isinstance(reply, Done) else None,
        attempts=outcome.attempts,
    )


def _check_archive(line: Line) -> None:
    if line.member.is_aggregator:
        raise Invalid(
            f"{line.member.name!r} is an aggregator, which does nothing in the name of others. Tell"
            " its members, with grants of your own"
        )


def _read_foreseen_untrusted(member: str, answer: object) -> Foreseen:
    match answer:
        case {
            "would": str(would),
            "right": str(right),
            "state": str(state),
            "transitions": int(transitions),
            "done": int() | None as done,
        } if transitions >= 0 and state in _STATES:
            return Foreseen(
                would=would[:WORDS_CHARACTERS_MAX],
                right=right[:WORDS_CHARACTERS_MAX],
                state=state,
                transitions=transitions,
                done=done,
            )
    raise _not_an_answer(member)


def _read_done_untrusted(member: str, answer: object) -> Done:
    match answer:
        case {
            "entry": int(entry),
            "time": str(time),
            "kind": str(kind),
            "repeated": bool(is_repeated),
            "facts": dict(facts),
        } if entry >= 0 and all(_is_fact(value) for value in facts.values()):
            return Done(
                entry=entry,
                time=time[:WORDS_CHARACTERS_MAX],
                kind=kind[:WORDS_CHARACTERS_MAX],
                is_repeated=is_repeated,
                facts=facts,
            )
    raise _not_an_answer(member)


def _is_fact(value: object) -> bool:
    """Whether it is a number, a text, or a map of texts: what goes into JSON as it is."""
    if isinstance(value, dict):
        return all(isinstance(it, str) for it in value.values())
    return value is None or isinstance(value, str | int)


def _not_an_answer(member: str) -> RemoteProtocolError:
    return RemoteProtocolError(
        f"member {member!r} sent an answer to a command that is none; ask its operator which"
        " release it runs"
    )
