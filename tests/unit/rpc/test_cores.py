"""Life and end of a connection, seen from both cores."""

from __future__ import annotations

import weakref

import pytest

from psp.errors import ConnectionLost, HandlerFailed, LocalProtocolError, Processed
from psp.rpc import (
    BOOTSTRAP,
    ERROR,
    REFERENCE,
    VALUE,
    Aborted,
    CallReady,
    Cancelled,
    Controller,
    ExportId,
    GoingAway,
    HelloReceived,
    QuestionId,
    Returned,
    Subject,
)
from psp.testing import Pair
from psp.testing._pair import ARCHIVE_ID, ARCHIVE_TIME
from psp.wire import (
    ACCEPT_BYTES_DEFAULT,
    CALL,
    CONTROLLER_HELLO,
    FINISH,
    GOAWAY,
    INITIAL_LIMITS,
    PRESENT,
    RELEASE,
    RETURN,
    SUBJECT_HELLO,
)

from ._seen import GivenUp, Ready, arriving, handles, seen, written

ONE, TWO = QuestionId(1), QuestionId(2)


@pytest.fixture
def pair() -> Pair:
    pair = Pair()
    pair.greet()
    return pair


def ask(
    pair: Pair, method: str = "m", *, no_result: bool = False, no_pipelining: bool = False
) -> QuestionId:
    return pair.controller.call(
        BOOTSTRAP, method, remaining_ms=9, no_result=no_result, no_pipelining=no_pipelining
    )


HELLO_OUT: tuple[object, ...] = (CONTROLLER_HELLO, [1], {}, [])
HELLO_BACK: tuple[object, ...] = (SUBJECT_HELLO, 1, {}, [], ARCHIVE_ID, ARCHIVE_TIME)


def outcomes(events: list[object]) -> list[tuple[int, Processed]]:
    found = []
    for event in events:
        assert isinstance(event, Returned)
        assert isinstance(event.payload, ConnectionLost)
        found.append((int(event.question), event.payload.processed))
    return found


def test_the_subject_introduces_itself_after_the_controller() -> None:
    pair = Pair(subject=Subject(ARCHIVE_ID, limits=INITIAL_LIMITS._replace(exports=99_999)))
    assert pair.subject.data_to_send() == b""
    pair.carry_to_subject()
    assert pair.carry_to_controller() == [
        HelloReceived(1, {"exports": 99_999}, [], ARCHIVE_ID, ARCHIVE_TIME)
    ]
    assert pair.controller.peer_limits.exports == 99_999


def test_a_plain_call_leaves_nothing_behind(pair: Pair) -> None:
    question = ask(pair, no_pipelining=True)
    events = pair.carry_to_subject()
    assert seen(events) == [Ready(1, "bootstrap")]
    [call] = handles(events)
    pair.subject.resolve_value(call, [1, "two"])
    assert pair.carry_to_controller() == [Returned(question, VALUE, [1, "two"])]
    assert pair.controller.open_questions == pair.controller.kept_answers == 0
    assert pair.subject.calls_in_flight == pair.subject.kept_answers == 0


def test_a_deadline_counts_from_the_arrival_of_the_call(pair: Pair) -> None:
    ask(pair)
    [ready] = pair.subject.receive(pair.controller.data_to_send(), now_ms=1_000)
    assert isinstance(ready, CallReady)
    assert ready.deadline_ms == 1_009


def test_a_failure_arrives_with_all_it_says(pair: Pair) -> None:
    ask(pair)
    [call] = arriving(pair)
    pair.subject.fail(
        call, HandlerFailed("sad \ud800", processed=Processed.MAYBE, correlation_id="c-1")
    )
    [returned] = pair.carry_to_controller()
    assert isinstance(returned, Returned)
    failure = returned.payload
    assert isinstance(failure, HandlerFailed)
    assert (str(failure), failure.processed, failure.correlation_id) == (
        "sad ?",
        Processed.MAYBE,
        "c-1",
    )


def test_what_a_failed_call_has_worked_with_does_not_live_as_long_as_its_answer(
    pair: Pair,
) -> None:
    class Files:
        """Open until nobody has them."""

    ask(pair)
    [call] = arriving(pair)
    files = Files()
    gone = weakref.ref(files)

    def work(files: Files, call: object) -> None:
        raise HandlerFailed(processed=Processed.MAYBE)

    try:
        work(files, call)
    except HandlerFailed as exc:
        pair.subject.fail(call, exc)
    del files
    assert gone() is None, "only a collection of garbage would close them"


def test_a_reference_is_called_on_and_given_back(pair: Pair) -> None:
    ask(pair, "open")
    [call] = arriving(pair)
    pair.subject.resolve_object(call, "object", "tag")
    assert pair.carry_to_controller() == [Returned(ONE, REFERENCE, 1)]
    pair.controller.call(ExportId(1), "m", remaining_ms=9)
    pair.controller.release(ExportId(1))
    # The call leaves before the release, whatever was asked for first.
    assert seen(pair.carry_to_subject()) == [Ready(2, "object", grant_tag="tag")]
    assert pair.subject.exports == 0
    with pytest.raises(LocalProtocolError, match="once"):
        pair.controller.release(ExportId(1))
    with pytest.raises(LocalProtocolError, match="not held"):
        pair.controller.call(ExportId(1), "m", remaining_ms=9)


def test_a_late_reference_is_given_back_by_the_core(pair: Pair) -> None:
    """It crossed our FINISH: nobody else will ever know of it."""
    question = ask(pair, "open")
    [call] = arriving(pair)
    pair.subject.resolve_object(call, "object", None)
    pair.controller.finish(question)
    assert pair.carry_to_controller() == []
    assert pair.subject.exports == 1
    pair.carry_to_subject()
    assert (pair.subject.exports, pair.subject.kept_answers) == (0, 0)
    assert pair.controller.held_references == 0


def test_a_late_finish_and_a_second_one_are_ignored(pair: Pair) -> None:
    question = ask(pair, no_pipelining=True)
    pair.controller.finish(question)
    pair.controller.finish(question)
    events = pair.carry_to_subject()
    assert seen(events) == [Ready(1, "bootstrap"), GivenUp(1)]
    [call] = handles(events)
    pair.subject.resolve_value(call, None)
    assert list(pair.subject.receive(written((FINISH, [1, 1])))) == []


def test_a_batch_of_finishes_is_cut_to_what_one_frame_holds(pair: Pair) -> None:
    questions = [ask(pair) for _ in range(4_096)]
    for call in arriving(pair):
        pair.subject.resolve_value(call, None)
    more = [ask(pair, no_pipelining=True) for _ in range(10)]
    for question in questions + more:
        pair.controller.finish(question)
    pair.carry_to_subject()
    assert pair.subject.kept_answers == 0


@pytest.mark.parametrize(
    "frames",
    [
        [(FINISH, [1])],
        [HELLO_OUT],
        [(RELEASE, [1])],
        [(CALL, 1, 5, "m", [], 9, 9, 0, None)],
        [(CALL, 1, [1, []], "m", [], 9, 9, 0, None)],
        [(CALL, 1, [2, []], "m", [], 9, 9, 0, None)],
        [(PRESENT, 2, b""), (PRESENT, 2, b"")],
        [(PRESENT, 2, b""), (CALL, 1, 0, "m", [], 9, 9, 0, None)],
        [(RETURN, 1, 0, None)],
    ],
)
def test_a_controller_that_breaks_the_protocol_is_told_and_cut(
    frames: list[tuple[object, ...]], pair: Pair
) -> None:
    [*_, aborted] = list(pair.subject.receive(written(*frames)))
    assert isinstance(aborted, Aborted)
    assert not aborted.by_peer
    assert pair.carry_to_controller() == [Aborted(1, aborted.text)]
    assert list(pair.subject.receive(written((FINISH, [1])))) == []


@pytest.mark.parametrize(
    "frames",
    [
        [(RETURN, 3, 0, None)],
        [(RETURN, 2, 0, None), (RETURN, 2, 0, None)],
        [(RETURN, 1, 1, 1), (RETURN, 2, 1, 1)],
        [HELLO_BACK],
        [(CALL, 1, 0, "m", [], 9, 9, 0, None)],
    ],
)
def test_a_subject_that_breaks_the_protocol_ends_every_question_once(
    frames: list[tuple[object, ...]], pair: Pair
) -> None:
    ask(pair, no_pipelining=True)
    ask(pair)
    pair.carry_to_subject()
    events = pair.controller.receive(written(*frames))
    aborted = events.pop()
    assert isinstance(aborted, Aborted)
    assert [event.question for event in events if isinstance(event, Returned)] in ([1, 2], [2, 1])
    assert pair.controller.open_questions == 0
    assert pair.carry_to_subject()[-1] == Aborted(1, aborted.text)


def test_nothing_may_come_before_hello() -> None:
    subject = Subject(ARCHIVE_ID)
    subject.hello(ARCHIVE_TIME)
    assert isinstance([*subject.receive(written((PRESENT, 1, b"")))][-1], Aborted)
    controller = Controller()
    assert isinstance(controller.receive(written((GOAWAY, 0)))[-1], Aborted)


def test_a_controller_of_another_version_is_told_so() -> None:
    subject = Subject(ARCHIVE_ID)
    subject.hello(ARCHIVE_TIME)
    [aborted] = subject.receive(written((CONTROLLER_HELLO, [2, 3], {}, [])))
    assert aborted == Aborted(2, aborted.text, by_peer=False)  # type: ignore[union-attr]


def test_the_end_of_the_connection_ends_every_question_once(pair: Pair) -> None:
    """What was handed to the shell may have been processed; the rest was certainly not."""
    ask(pair)
    [call] = arriving(pair)
    ask(pair)
    lost, cancelled = pair.cut()
    assert outcomes(list(lost)) == [(1, Processed.MAYBE), (2, Processed.NO)]
    assert cancelled == [Cancelled(call)]
    assert pair.cut() == ([], [])
    # A handler that ends after its connection finds nobody to tell, and that is no error.
    assert pair.subject.resolve_value(call, None) == ()
    with pytest.raises(ConnectionLost, match="reconnect"):
        ask(pair)


def test_going_away_answers_what_came_and_drops_the_rest(pair: Pair) -> None:
    first = ask(pair)
    [call] = arriving(pair)
    pair.subject.go_away()
    second = ask(pair)
    assert pair.carry_to_subject() == []
    pair.controller.finish(second)
    assert pair.carry_to_subject() == []
    lost = pair.controller.call(BOOTSTRAP, "m", remaining_ms=9)
    returned, going = pair.carry_to_controller()
    assert outcomes([returned]) == [(int(lost), Processed.NO)]
    assert going == GoingAway(1)
    pair.subject.resolve_value(call, "late")
    assert pair.carry_to_controller() == [Returned(first, VALUE, "late")]
    with pytest.raises(ConnectionLost, match="going away"):
        ask(pair)
    pair.controller.finish(first)
    pair.carry_to_subject()
    assert (pair.subject.calls_in_flight, pair.subject.kept_answers) == (0, 0)


def test_a_second_goaway_ends_the_connection(pair: Pair) -> None:
    """Each one looks at every open question: said without end it would be a way to burn a core."""
    question = ask(pair)
    pair.carry_to_subject()
    *_, aborted = pair.controller.receive(written((GOAWAY, 1), (GOAWAY, 1)))
    assert isinstance(aborted, Aborted)
    assert not aborted.by_peer
    assert pair.controller.open_questions == 0
    assert question == ONE


def test_going_away_before_the_greeting_follows_it() -> None:
    pair = Pair()
    pair.subject.go_away()
    ask(pair)
    assert pair.carry_to_subject() == []
    hello, returned, going = pair.carry_to_controller()
    assert isinstance(hello, HelloReceived)
    assert outcomes([returned]) == [(1, Processed.NO)]
    assert going == GoingAway(0)


def test_an_abort_reaches_the_other_side(pair: Pair) -> None:
    ask(pair)
    [call] = arriving(pair)
    events = pair.controller.abort(3, "done")
    assert outcomes(list(events[:-1])) == [(1, Processed.MAYBE)]
    assert pair.carry_to_subject() == [Cancelled(call), Aborted(3, "done")]
    assert pair.controller.abort(3, "again") == []


def test_what_cannot_be_sent_raises_and_sends_nothing(pair: Pair) -> None:
    question = ask(pair, no_pipelining=True)
    sent = pair.controller.waiting_bytes
    for target, method, arguments, remaining in (
        (BOOTSTRAP, "", [], 9),
        (BOOTSTRAP, "\ud800", [], 9),
        (BOOTSTRAP, "m", ["\ud800"], 9),
        (BOOTSTRAP, "m", [float("nan")], 9),
        (BOOTSTRAP, "m", [], -1),
        (ExportId(3), "m", [], 9),
        ((question, ()), "m", [], 9),
        ((QuestionId(9), ()), "m", [], 9),
    ):
        with pytest.raises(LocalProtocolError):
            pair.controller.call(target, method, arguments, remaining_ms=remaining)
    with pytest.raises(LocalProtocolError, match="never asked"):
        pair.controller.finish(QuestionId(7))
    assert pair.controller.waiting_bytes == sent
    assert pair.controller.open_questions == 1


def test_an_answer_that_cannot_be_sent_stays_open(pair: Pair) -> None:
    ask(pair)
    [call] = arriving(pair)
    with pytest.raises(LocalProtocolError, match="cannot be sent"):
        pair.subject.resolve_value(call, float("nan"))
    pair.subject.fail(call, HandlerFailed())
    [returned] = pair.carry_to_controller()
    assert isinstance(returned, Returned)
    assert returned.status == ERROR
    with pytest.raises(LocalProtocolError, match="once"):
        pair.subject.resolve_value(call, 1)


def test_hello_is_said_first_and_once() -> None:
    subject = Subject(ARCHIVE_ID)
    with pytest.raises(LocalProtocolError, match="say hello"):
        subject.receive(b"")
    with pytest.raises(LocalProtocolError, match="time zone"):
        subject.hello(ARCHIVE_TIME.replace(tzinfo=None))
    subject.hello(ARCHIVE_TIME)
    with pytest.raises(LocalProtocolError, match="already"):
        subject.hello(ARCHIVE_TIME)


def test_a_call_said_again_has_the_bytes_of_one_said_first() -> None:
    pair = held_reference()
    for count in range(300):  # Past the ids of one byte, and those of two.
        question = pair.controller.call(
            ExportId(1), "m", remaining_ms=9 + count % 2, no_pipelining=count % 3 > 0
        )
        flags = 2 if count % 3 else 0
        assert pair.controller.data_to_send() == written(
            (CALL, question, 1, "m", [], 9 + count % 2, ACCEPT_BYTES_DEFAULT, flags, None)
        )


def test_a_call_said_before_the_reference_was_released_cannot_be_said_again() -> None:
    pair = held_reference()
    for _ in range(3):
        pair.controller.call(ExportId(1), "m", remaining_ms=9)
    pair.controller.release(ExportId(1))
    with pytest.raises(LocalProtocolError, match="not held"):
        pair.controller.call(ExportId(1), "m", remaining_ms=9)


def test_what_has_no_hash_is_refused_like_any_mistake() -> None:
    pair = held_reference()
    pair.controller.call(ExportId(1), "m", remaining_ms=9)
    with pytest.raises(LocalProtocolError, match="remaining_ms"):
        pair.controller.call(ExportId(1), "m", remaining_ms=[9])  # type: ignore[arg-type]


def held_reference() -> Pair:
    pair = Pair()
    pair.greet()
    pair.controller.present(b"t")
    [present] = pair.carry_to_subject()
    pair.subject.resolve_object(present, "o", "tag")  # type: ignore[arg-type]
    pair.carry_to_controller()
    return pair
