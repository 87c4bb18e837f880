"""A fleet told to do something: one key for all, one outcome for each, and nothing twice."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio
import trio.testing

from psp.aggregator import Became, CommandReport, FleetCommand, TrioFleet
from psp.aggregator._limits import APPEND_BYTES_MAX, ATTEMPTS_MAX
from psp.capability import CommandKey, verify_transition_untrusted
from psp.endpoint import method
from psp.errors import CallFailed, Denied, EstateError, HandlerFailed, Overloaded
from psp.testing import VirtualHost
from psp.transport import MachineKey
from psp.values import Value

from .virtual import Bootstrap, Box, Estate, Grant, estate, fleet, key_file, member, named

T = TypeVar("T")


@dataclass
class CommandedBox(Box):
    """A member that does commands as an archive does, or as the test says.

    Attributes:
        done: By key, what was done.
        cuts: How often the connection ends between the effect and its answer.
        says: What it answers instead.
    """

    done: dict[bytes, int] = field(default_factory=dict)
    calls: list[tuple[str, dict[str, Any], bytes, bool, bytes]] = field(default_factory=list)
    cuts: int = 0
    says: Any = None
    connection: VirtualHost | None = None

    def host(self) -> VirtualHost:
        def present(_peer: object, _token: bytes) -> CommandedGrant:
            return CommandedGrant(self)

        self.connection = VirtualHost(lambda: Bootstrap(self), present)
        return self.connection

    @property
    def transitions(self) -> int:
        return len(self.done)


class CommandedGrant(Grant):
    _box: CommandedBox

    @method
    async def do(
        self,
        command: str,
        arguments: dict[str, Value],
        key: bytes,
        preview: bool = False,
        statement: bytes = b"",
    ) -> dict[str, Any]:
        box = self._box
        box.calls.append((command, arguments, key, preview, statement))
        if box.failures:
            raise box.failures.pop(0)
        if box.says is not None:
            return dict(box.says)
        await trio.sleep(box.takes_s)
        if preview:
            return {
                "would": command,
                "right": "any",
                "state": box.state,
                "transitions": box.transitions,
                "done": box.done.get(key),
            }
        is_repeated = key in box.done
        entry = box.done.setdefault(key, len(box.done))
        if box.cuts:
            box.cuts -= 1
            assert box.connection is not None
            box.connection.cut()
            await trio.sleep_forever()
        return {
            "entry": entry,
            "time": "2026-11-21T12:00:00.000Z",
            "kind": "state",
            "repeated": is_repeated,
            "facts": {"after": command},
        }


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleet")


def commanded(directory: Path, *names: str) -> Estate:
    return estate(directory, named(*names), box=lambda member: CommandedBox())


def box(of: Estate, name: str) -> CommandedBox:
    found = of.boxes[name]
    assert isinstance(found, CommandedBox)
    return found


def within(of: Estate, use: Callable[[TrioFleet], Awaitable[T]]) -> T:
    async def main() -> T:
        async with fleet(of) as opened:
            return await use(opened)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def became(report: CommandReport) -> dict[str, str]:
    return {one.member: one.became.value for one in report.outcomes}


def test_each_member_has_an_outcome_of_its_own(directory: Path) -> None:
    of = commanded(directory, "well", "no", "gone", "late", "odd", "rest")
    box(of, "no").failures = [Denied()]
    box(of, "rest").state, box(of, "rest").failures = "suspended", [Denied()]
    of.host("gone").is_down = True
    box(of, "late").takes_s = 600
    box(of, "odd").says = {"entry": "first"}
    report = within(of, lambda it: it.do(FleetCommand.audit()))
    assert became(report) == {
        "well": "done",
        "no": "refused",
        "gone": "unreachable",
        "late": "late",
        "odd": "failed",
        "rest": "refused",
    }
    assert not report.is_done
    assert [one.member for one in report.outcomes if one.cause] == [
        "no",
        "gone",
        "late",
        "odd",
        "rest",
    ]


def test_one_key_is_given_to_all_and_a_new_command_has_another(directory: Path) -> None:
    of = commanded(directory, "a", "b")

    async def twice(it: TrioFleet) -> list[CommandReport]:
        return [await it.do(FleetCommand.audit()) for _ in range(2)]

    first, second = within(of, twice)
    assert first.key != second.key
    for name in "ab":
        assert [call[2] for call in box(of, name).calls] == [
            first.key.to_bytes(),
            second.key.to_bytes(),
        ]


def test_a_cut_between_effect_and_answer_is_tried_again_under_the_same_key(
    directory: Path,
) -> None:
    of = commanded(directory, "a")
    box(of, "a").cuts = 2
    report = within(of, lambda it: it.do(FleetCommand.audit()))
    assert became(report) == {"a": "already done"}
    assert len(box(of, "a").done) == 1
    assert len({call[2] for call in box(of, "a").calls}) == 1
    assert report.is_done


def test_the_same_key_given_again_does_nothing_twice(directory: Path) -> None:
    of = commanded(directory, "a", "b")
    of.host("b").is_down = True

    async def again(it: TrioFleet) -> list[CommandReport]:
        first = await it.do(FleetCommand.suspend())
        of.host("b").is_down = False
        return [first, await it.do(FleetCommand.suspend(), key=first.key)]

    first, second = within(of, again)
    assert became(first) == {"a": "done", "b": "unreachable"}
    assert became(second) == {"a": "already done", "b": "done"}
    assert [len(box(of, name).done) for name in "ab"] == [1, 1]


@pytest.mark.parametrize(
    ("error", "tries", "becomes"),
    [
        (Overloaded(), ATTEMPTS_MAX, "refused"),
        (Denied(), 1, "refused"),
        (HandlerFailed(), 1, "failed"),  # Perhaps it is done: the fault may have come after it.
    ],
)
def test_only_what_may_pass_is_tried_again(
    directory: Path, error: CallFailed, tries: int, becomes: str
) -> None:
    of = commanded(directory, "a")
    box(of, "a").failures = [error] * 10
    report = within(of, lambda it: it.do(FleetCommand.audit()))
    assert became(report) == {"a": becomes}
    assert report.outcomes[0].attempts == len(box(of, "a").calls) == tries


def test_a_preview_only_asks(directory: Path) -> None:
    of = commanded(directory, "a", "gone")
    of.host("gone").is_down = True
    report = within(of, lambda it: it.foresee(FleetCommand.suspend()))
    assert became(report) == {"a": "foreseen", "gone": "unreachable"}
    assert [call[3] for call in box(of, "a").calls] == [True]
    (seen, _) = report.outcomes
    assert seen.foreseen is not None
    assert (seen.foreseen.would, seen.foreseen.right, seen.became) == (
        "suspend",
        "any",
        Became.FORESEEN,
    )


def test_a_transition_is_signed_by_the_tenant_for_the_state_that_the_member_tells(
    directory: Path,
) -> None:
    of = commanded(directory, "a")
    box(of, "a").done[b"earlier"] = 0
    within(of, lambda it: it.do(FleetCommand.suspend()))
    *_, last = box(of, "a").calls
    tenant = MachineKey.load(key_file(directory))
    said = verify_transition_untrusted(
        last[4],
        archive_id=of.address("a").archive_id,
        number=1,
        before="active",
        allowed=frozenset({tenant.public_bytes}),
    )
    assert (said.number, said.after) == (2, "suspended")


def test_nothing_is_signed_where_nothing_changes(directory: Path) -> None:
    of = commanded(directory, "a")
    box(of, "a").state = "suspended"
    within(of, lambda it: it.do(FleetCommand.suspend()))
    assert [call[4] for call in box(of, "a").calls] == [b"", b""]


@pytest.mark.parametrize(
    "says",
    [
        {},
        {"would": "x", "right": "y", "state": "melted", "transitions": 0, "done": None},
        {"would": "x", "right": "y", "state": "active", "transitions": -1, "done": None},
        {"would": 1, "right": "y", "state": "active", "transitions": 0, "done": None},
        {"entry": 1, "time": "", "kind": "", "repeated": False, "facts": {"a": [1]}},
    ],
)
def test_a_member_that_says_anything_has_failed_and_is_no_error_of_ours(
    directory: Path, says: dict[str, Any]
) -> None:
    of = commanded(directory, "a", "b")
    box(of, "a").says = says
    report = within(of, lambda it: it.do(FleetCommand.suspend()))
    assert became(report) == {"a": "failed", "b": "done"}
    assert "an answer to a command that is none" in report.outcomes[0].cause


def test_an_aggregator_is_told_nothing(directory: Path) -> None:
    of = estate(directory, [member("hub", is_aggregator=True)], box=lambda member: CommandedBox())
    report = within(of, lambda it: it.do(FleetCommand.audit()))
    assert became(report) == {"hub": "refused"}
    assert "is an aggregator" in report.outcomes[0].cause
    assert box(of, "hub").calls == []


def test_members_are_chosen_as_for_a_question(directory: Path) -> None:
    of = commanded(directory, "north", "south")
    report = within(of, lambda it: it.do(FleetCommand.audit(sample=3), members="n*"))
    assert became(report) == {"north": "done"}
    assert box(of, "north").calls[0][1] == {"sample": 3}
    assert box(of, "south").calls == []
    with pytest.raises(EstateError, match="no member has"):
        within(of, lambda it: it.do(FleetCommand.audit(), members="west"))


def test_a_file_is_read_where_the_fleet_is_and_stays_out_of_the_report(tmp_path: Path) -> None:
    file = tmp_path / "rent.csv"
    file.write_text("lease,rent\n1,2\n")
    made = FleetCommand.append(file, table="rents", null="-", kind="")
    assert made.arguments == {
        "table": "rents",
        "file": "rent.csv",
        "content": b"lease,rent\n1,2\n",
        "null": "-",
    }
    report = CommandReport(command=made, key=CommandKey(1, bytes(16)), outcomes=())
    assert json.loads(json.dumps(report.to_dict()))["arguments"] == {
        "table": "rents",
        "file": "rent.csv",
        "null": "-",
    }
    file.write_bytes(bytes(APPEND_BYTES_MAX + 1))
    with pytest.raises(EstateError, match="a call brings 196,608"):
        FleetCommand.append(file, table="rents")
    with pytest.raises(EstateError, match="cannot be read"):
        FleetCommand.append(tmp_path / "none.csv", table="rents")
