"""Middleware and OpenTelemetry's spans on both ends of a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager

import pytest
import trio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from psp import aio
from psp.endpoint import CallSeen, Connection, Exposed, Middleware, connect, method, spans
from psp.errors import CallFailed, Denied, HandlerFailed
from psp.testing import Loopback, loopback
from psp.values import Value

ROW = "the row of Mrs Example"


class Traced:
    """A program with OpenTelemetry, and what it has exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def only(self, name: str, kind: SpanKind) -> ReadableSpan:
        (found,) = (span for span in self.spans if (span.name, span.kind) == (name, kind))
        return found


class Room(Exposed):
    def __init__(self, traced: Traced) -> None:
        self.traced = traced

    @method
    def next(self) -> Room:
        return Room(self.traced)

    @method
    def echo(self, value: Value) -> Value:
        return value

    @method
    def look(self) -> None:
        self.traced.tracer.start_span("inner").end()

    @method
    async def look_later(self) -> None:
        await trio.lowlevel.checkpoint()
        self.traced.tracer.start_span("inner").end()

    @method(inline=False)
    def look_in_a_thread(self) -> None:
        self.traced.tracer.start_span("inner").end()

    @method
    def refuse(self, row: str) -> None:
        raise Denied(f"not {row}")

    @method
    def fail(self, row: str) -> None:
        raise ValueError(row)

    @method
    async def wait(self) -> None:
        await trio.sleep_forever()


@asynccontextmanager
async def traced_connection() -> AsyncIterator[tuple[Traced, Connection]]:
    traced = Traced()
    watch = [spans(traced.provider)]
    async with (
        loopback(lambda: Room(traced), middleware=watch) as near,
        connect(near.address, key=near.key, middleware=watch) as connection,
    ):
        yield traced, connection


async def test_a_call_is_a_client_span_of_the_callers_trace_and_a_server_span_of_its_own() -> None:
    async with traced_connection() as (traced, connection):
        with traced.tracer.start_as_current_span("screen") as screen:
            await connection.bootstrap.call("echo", ROW)
    asked, answered = traced.only("echo", SpanKind.CLIENT), traced.only("echo", SpanKind.SERVER)

    assert asked.parent == screen.get_span_context()
    assert answered.parent is None
    assert asked.attributes is not None
    assert answered.attributes is not None
    assert asked.attributes["psp.question"] == answered.attributes["psp.question"]
    assert asked.status.status_code is answered.status.status_code is StatusCode.UNSET


async def test_a_pipelined_chain_has_a_span_for_each_call() -> None:
    async with traced_connection() as (traced, connection):
        await connection.bootstrap.call("next").call("next").call("echo", 1)

    for kind in (SpanKind.CLIENT, SpanKind.SERVER):
        assert sorted(s.name for s in traced.spans if s.kind is kind) == ["echo", "next", "next"]


@pytest.mark.parametrize("name", ["look", "look_later", "look_in_a_thread"])
async def test_what_a_handler_traces_hangs_on_its_call_wherever_it_runs(name: str) -> None:
    async with traced_connection() as (traced, connection):
        await connection.bootstrap.call(name)
    call, inner = traced.only(name, SpanKind.SERVER), traced.only("inner", SpanKind.INTERNAL)

    assert call.context is not None
    assert inner.parent is not None
    assert inner.parent.span_id == call.context.span_id


async def test_no_argument_and_no_word_of_a_failure_is_in_any_span() -> None:
    async with traced_connection() as (traced, connection):
        await connection.bootstrap.call("echo", ROW)
        with pytest.raises(Denied, match=ROW):
            await connection.bootstrap.call("refuse", ROW)
        with pytest.raises(HandlerFailed):
            await connection.bootstrap.call("fail", ROW)

    assert len(traced.spans) == 6
    assert ROW not in "".join(span.to_json() for span in traced.spans)
    for name, word in (("refuse", "denied"), ("fail", "failed")):
        for kind in (SpanKind.CLIENT, SpanKind.SERVER):
            attributes = traced.only(name, kind).attributes
            assert attributes is not None
            assert attributes["error.type"] == word


async def test_the_spans_of_calls_that_were_given_up_or_cut_off_end_too() -> None:
    async with traced_connection() as (traced, connection):
        with trio.CancelScope() as scope:
            promise = connection.bootstrap.call("wait")
            scope.cancel()
            await promise
        connection.bootstrap.call("wait", is_last=True)
        connection.close()

    ended = [span for span in traced.spans if span.kind is SpanKind.CLIENT]
    assert [span.status.status_code for span in ended] == [StatusCode.ERROR] * 2


def test_through_the_asyncio_door_the_parent_is_the_span_of_the_asyncio_task() -> None:
    traced = Traced()

    async def ask(near: Loopback) -> None:
        async with aio.connect(
            near.address, key=near.key, middleware=[spans(traced.provider)]
        ) as connection:
            with traced.tracer.start_as_current_span("request"):
                await connection.bootstrap.call("echo", 1)

    async def main() -> None:
        async with loopback(lambda: Room(traced)) as near:
            await trio.to_thread.run_sync(asyncio.run, ask(near))

    trio.run(main)
    asked, request = traced.only("echo", SpanKind.CLIENT), traced.only("request", SpanKind.INTERNAL)
    assert request.context is not None
    assert asked.parent is not None
    assert asked.parent.span_id == request.context.span_id


# Any middleware.


def refusing(*methods: str) -> Middleware:
    @contextmanager
    def refuse(seen: CallSeen) -> Iterator[None]:
        if seen.method in methods:
            raise Denied("not today")
        yield

    return refuse


async def test_a_middleware_of_the_subject_may_refuse_before_the_handler_runs() -> None:
    traced = Traced()
    async with (
        loopback(lambda: Room(traced), middleware=[refusing("look")]) as near,
        connect(near.address, key=near.key) as connection,
    ):
        with pytest.raises(Denied, match="not today"):
            await connection.bootstrap.call("look")
        assert await connection.bootstrap.call("echo", 1) == 1
    assert traced.spans == ()


async def test_both_ends_see_the_same_call_under_their_own_names_for_each_other() -> None:
    seen: list[CallSeen] = []

    @contextmanager
    def note(call: CallSeen) -> Iterator[None]:
        seen.append(call)
        yield

    traced = Traced()
    async with (
        loopback(
            lambda: Room(traced), present=lambda _peer, _token: Room(traced), middleware=[note]
        ) as near,
        connect(near.address, key=near.key, middleware=[note]) as connection,
    ):
        await connection.present(b"a token").call("echo", 1)
    controllers = [call for call in seen if call.role == "controller" and call.method == "echo"]
    subjects = [call for call in seen if call.role == "subject" and call.method == "echo"]

    assert [call.question for call in controllers] == [call.question for call in subjects]
    assert len(subjects[0].grant) == 12
    assert controllers[0].peer == subjects[0].peer == "loopback"


async def test_a_fault_in_a_middleware_of_the_subject_is_a_failed_call_and_no_more() -> None:
    def broken(_call: CallSeen) -> AbstractContextManager[None]:
        raise OSError(ROW)

    traced = Traced()
    async with (
        loopback(lambda: Room(traced), middleware=[broken]) as near,
        connect(near.address, key=near.key) as connection,
    ):
        with pytest.raises(CallFailed) as failed:
            await connection.bootstrap.call("echo", 1)
        assert ROW not in str(failed.value)
        assert ROW not in "".join(near.log)


async def test_a_middleware_of_the_controller_may_refuse_before_anything_is_sent() -> None:
    traced = Traced()
    async with (
        loopback(lambda: Room(traced)) as near,
        connect(near.address, key=near.key, middleware=[refusing("look")]) as connection,
    ):
        with pytest.raises(Denied, match="not today"):
            connection.bootstrap.call("look")
        assert await connection.bootstrap.call("echo", 1) == 1
        assert connection.inspect().waiting == ()
    assert traced.spans == ()
