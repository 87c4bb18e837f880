"""Many members asked at once: each state with its cause and since when; absent is never zero."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest
import trio
import trio.testing
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from psp.aggregator import Answer, MemberState, Roster, TrioFleet
from psp.endpoint import Address
from psp.errors import (
    Denied,
    EstateError,
    HandlerFailed,
    LocalProtocolError,
    Overloaded,
    QuestionError,
    TooFewAnswered,
)
from psp.transport import MachineKey

from .virtual import Box, Estate, estate, fleet, member, named

COUNT = "select count(*) as n, sum(amount) as amount from rows"
T = TypeVar("T")


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fleet")


def within(of: Estate, use: Callable[[TrioFleet], Awaitable[T]]) -> T:
    """Run in virtual time: whatever is waited for comes at once."""

    async def main() -> T:
        async with fleet(of) as opened:
            return await use(opened)

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def states(answer: Answer) -> dict[str, str]:
    return {outcome.member: outcome.state.value for outcome in answer.outcomes}


def test_every_state_is_told_apart_with_its_cause_and_since_when(directory: Path) -> None:
    of = estate(directory, named("well", "none", "late", "gone", "mute", "rest", "no"))
    of.boxes["none"].count = 0
    of.boxes["late"].takes_s = 60
    of.host("gone").is_down = True
    of.host("mute").is_silent = True
    of.boxes["rest"].state, of.boxes["rest"].failures = "suspended", [Denied()]
    of.boxes["no"].failures = [Denied()]
    answer = within(of, lambda it: it.ask(COUNT))
    assert states(answer) == {
        "well": "answered",
        "none": "empty",
        "late": "late",
        "gone": "unreachable",
        "mute": "late",  # Two swallowed connects are longer than the deadline.
        "rest": "suspended",
        "no": "refused",
    }
    assert answer.rows == [[1, of.boxes["well"].amount]]
    assert sum(answer.states.values()) == 7
    for outcome in answer.outcomes:
        assert outcome.since is not None
        assert bool(outcome.cause) == (outcome.state.value not in ("answered", "empty"))


def test_since_is_the_first_time_in_a_row(directory: Path) -> None:
    of = estate(directory, named("a"))

    async def thrice(it: TrioFleet) -> list[Answer]:
        of.host("a").is_down = True
        first, second = await it.ask(COUNT), await it.ask(COUNT)
        of.host("a").is_down = False
        return [first, second, await it.ask(COUNT)]

    down, still, up = (answer.outcomes[0] for answer in within(of, thrice))
    assert down.since == still.since
    assert up.state is MemberState.ANSWERED
    assert up.since is not down.since


def test_a_member_has_the_whole_deadline_however_long_it_is(directory: Path) -> None:
    of = estate(directory, named("a"))
    of.boxes["a"].takes_s = 90  # A call alone has thirty seconds.
    answer = within(of, lambda it: it.ask(COUNT, deadline_s=120))
    assert states(answer) == {"a": "answered"}


def test_one_connection_and_one_grant_serve_all_questions_of_a_tenant(directory: Path) -> None:
    of = estate(directory, named("a", "b"))

    async def often(it: TrioFleet) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(it.ask, COUNT)
        await it.ask(COUNT)

    within(of, often)
    assert [of.host(name).connects for name in "ab"] == [1, 1]
    assert [len(box.tokens) for box in of.boxes.values()] == [1, 1]
    assert of.boxes["a"].queries == 21


def test_an_old_connection_that_turns_out_dead_costs_no_answer(directory: Path) -> None:
    of = estate(directory, named("a"))

    async def twice(it: TrioFleet) -> Answer:
        await it.ask(COUNT)
        of.host("a").cut()
        return await it.ask(COUNT)

    assert states(within(of, twice)) == {"a": "answered"}


def test_what_is_overloaded_is_asked_again_and_what_has_failed_is_not(directory: Path) -> None:
    of = estate(directory, named("busy", "broken"))
    of.boxes["busy"].failures = [Overloaded(), Overloaded()]
    of.boxes["broken"].failures = [HandlerFailed()]
    answer = within(of, lambda it: it.ask(COUNT))
    assert [outcome.attempts for outcome in answer.outcomes] == [3, 1]
    assert states(answer) == {"busy": "answered", "broken": "refused"}


def test_a_fleet_that_is_down_gets_few_retries(directory: Path) -> None:
    """Without the budget, 200 members down were 600 connects a question."""
    of = estate(directory, named(*(f"m{number}" for number in range(200))))
    for host in of.network.hosts.values():
        host.is_down = True
    answer = within(of, lambda it: it.ask(COUNT))
    assert answer.states == {"unreachable": 200}
    assert 200 < sum(host.connects for host in of.network.hosts.values()) <= 200 + 20 + 20


def test_a_member_that_fails_is_left_alone_and_found_again(directory: Path) -> None:
    of = estate(directory, named("a", "b"))
    host = of.host("a")

    async def story(it: TrioFleet) -> list[Answer]:
        host.is_silent = True
        answers = [await it.ask(COUNT, deadline_s=2) for _ in range(3)]
        before = host.connects
        alone = await it.ask(COUNT, deadline_s=2)
        assert host.connects == before
        host.is_silent = False
        await trio.sleep(5)
        return [*answers, alone, await it.ask(COUNT)]

    answers = within(of, story)
    assert [states(answer)["a"] for answer in answers] == ["late"] * 4 + ["answered"]
    left_alone = answers[3].outcomes[0]
    assert left_alone.attempts == 0
    assert "3 questions in a row failed" in left_alone.cause
    assert left_alone.since == answers[0].outcomes[0].since
    assert [states(answer)["b"] for answer in answers] == ["answered"] * 5


def test_a_short_deadline_says_nothing_about_a_member(directory: Path) -> None:
    of = estate(directory, named("a"), box=lambda _: Box(takes_s=0.5))

    async def hasty(it: TrioFleet) -> Answer:
        for _ in range(10):
            await it.ask(COUNT, deadline_s=0.1)
        return await it.ask(COUNT)

    assert states(within(of, hasty)) == {"a": "answered"}


@pytest.mark.parametrize(
    ("require", "met", "seconds"),
    [
        ("all", False, 10),
        ("quorum", True, 2),
        ("quorum:4", False, 10),
        ("any", True, 1),
        ("deadline", True, 10),
    ],
)
def test_what_an_answer_requires_decides_when_waiting_ends(
    directory: Path, require: str, met: bool, seconds: float
) -> None:
    """Of five members one answers after 1 second, two after 2, one is down and one never ends."""
    of = estate(directory, named("a", "b", "c", "down", "slow"))
    for name, takes_s in (("a", 1), ("b", 2), ("c", 2), ("slow", 60)):
        of.boxes[name].takes_s = takes_s
    of.host("down").is_down = True

    async def timed(it: TrioFleet) -> tuple[float, Answer | None, Answer]:
        start = trio.current_time()
        try:
            answer = await it.ask(COUNT, require=require)
        except TooFewAnswered as exc:
            return trio.current_time() - start, None, cast("Answer", exc.answer)
        return trio.current_time() - start, answer, answer

    took_s, answer, came = within(of, timed)
    assert (answer is not None) is met
    assert took_s == pytest.approx(seconds, abs=0.01)
    assert len(came.outcomes) == 5
    waiting = {state for state in states(came).values() if state in ("late", "unneeded")}
    assert waiting == ({"unneeded"} if require in ("any", "quorum") else {"late"})


def test_too_few_says_what_was_required_and_holds_what_came(directory: Path) -> None:
    of = estate(directory, named("a", "b"))
    of.host("b").is_down = True
    with pytest.raises(TooFewAnswered, match="all requires 2 of 2 members, and 1 answered") as it:
        within(of, lambda it: it.ask(COUNT, require="all"))
    assert isinstance(it.value.answer, Answer)
    assert it.value.answer.rows[0][0] == 1


def test_outcomes_come_as_members_answer(directory: Path) -> None:
    of = estate(directory, named("slow", "quick", "gone"))
    of.boxes["slow"].takes_s, of.boxes["quick"].takes_s = 3, 1
    of.host("gone").is_down = True

    async def iterate(it: TrioFleet) -> tuple[list[str], Answer]:
        async with it.coming(COUNT) as coming:
            with pytest.raises(LocalProtocolError, match="still out"):
                assert coming.answer
            came = [outcome.member async for outcome in coming]
        return came, coming.answer

    came, answer = within(of, iterate)
    assert came == ["gone", "quick", "slow"]
    assert answer.rows[0][0] == 2


def test_leaving_early_gives_the_rest_up(directory: Path) -> None:
    of = estate(directory, named("a", "b"), box=lambda _: Box(takes_s=100))
    of.boxes["a"].takes_s = 1

    async def first(it: TrioFleet) -> float:
        async with it.coming(COUNT) as coming:
            await coming.next()
        return trio.current_time()

    async def main() -> float:
        async with fleet(of) as opened:
            start = trio.current_time()
            return await first(opened) - start

    assert trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0)) < 2


def test_a_wrong_question_is_raised_after_the_last_outcome(directory: Path) -> None:
    of = estate(directory, named("a"))

    async def iterate(it: TrioFleet) -> None:
        async with it.coming("select nonsense") as coming:
            async for _ in coming:
                pass

    with pytest.raises(QuestionError):
        within(of, iterate)


def test_members_are_chosen_by_name_kind_and_label(directory: Path) -> None:
    members = [
        member("a", kind="books", labels={"region": "north"}),
        member("b", kind="books", labels={"region": "south"}),
        member("c", kind="deeds", labels={"region": "north"}),
    ]
    of = estate(directory, members)
    asked = within(of, lambda it: it.ask(COUNT, members="kind=books,region=north"))
    assert states(asked) == {"a": "answered"}
    assert len(within(of, lambda it: it.status(members="a c")).outcomes) == 2
    with pytest.raises(EstateError, match="no member has region=west; there are north, south"):
        within(of, lambda it: it.ask(COUNT, members="region=west"))


def test_kinds_and_labels_are_read_from_the_file(tmp_path: Path) -> None:
    pem = MachineKey(Ed25519PrivateKey.generate()).certificate_pem
    (tmp_path / "a.pem").write_text(pem)
    (tmp_path / "estate.toml").write_text(
        f"""
        name = "e"
        [tenants.o]
        key = "k"
        grants = "g"
        [[members]]
        name = "a"
        kind = "books"
        labels = {{ region = "north", floors = 3 }}
        address = "{Address(bytes(32), "h", 1, pem, "a").to_text()}"
        certificate = "a.pem"
        """
    )
    (found,) = Roster.load(tmp_path).members
    assert (found.kind, found.labels) == ("books", {"region": "north", "floors": "3"})
