"""Spans by themselves, in the real library's own exporter: names and outcomes, never values."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from psp.endpoint import CallSeen, Middleware, spans
from psp.errors import CallFailed, Denied, HandlerFailed, MissingExtra

ROW = "the row of Mrs Example"
ASKED = CallSeen("controller", "total", 7, "98004")
ANSWERED = CallSeen("subject", "total", 7, "aggregator", "000102030405")


class Watched:
    """A middleware and what it has exported."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.middleware: Middleware = spans(self.provider)

    def call(self, seen: CallSeen, failure: BaseException | None = None) -> ReadableSpan:
        if failure is None:
            with self.middleware(seen):
                pass
        else:
            with pytest.raises(type(failure)), self.middleware(seen):
                raise failure
        return self.exporter.get_finished_spans()[-1]


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return dict(span.attributes)


def test_a_call_of_a_controller_is_one_client_span() -> None:
    span = Watched().call(ASKED)

    assert (span.name, span.kind, span.status.status_code) == (
        "total",
        SpanKind.CLIENT,
        StatusCode.UNSET,
    )
    assert attributes(span) == {
        "rpc.system": "psp",
        "rpc.method": "total",
        "psp.peer": "98004",
        "psp.question": 7,
    }


def test_a_call_at_a_subject_is_one_server_span_with_the_grant_it_came_by() -> None:
    span = Watched().call(ANSWERED)

    assert span.kind is SpanKind.SERVER
    assert attributes(span)["psp.grant"] == "000102030405"


def test_the_parent_on_the_controller_is_the_current_span_and_a_subject_starts_anew() -> None:
    watched = Watched()
    with watched.provider.get_tracer("test").start_as_current_span("screen") as screen:
        asked, answered = watched.call(ASKED), watched.call(ANSWERED)

    assert asked.parent == screen.get_span_context()
    assert answered.parent is None


def test_what_a_handler_traces_hangs_on_the_span_of_its_call() -> None:
    watched = Watched()
    with watched.middleware(ANSWERED):
        watched.provider.get_tracer("test").start_span("read the disk").end()
    inner, outer = watched.exporter.get_finished_spans()

    assert outer.context is not None
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    assert trace.get_current_span() is trace.INVALID_SPAN


@pytest.mark.parametrize(
    ("seen", "failure", "word", "status"),
    [
        (ASKED, Denied(ROW), "denied", StatusCode.ERROR),
        # A refusal is the archive doing its work; only its own faults turn its spans red.
        (ANSWERED, Denied(ROW), "denied", StatusCode.UNSET),
        (ANSWERED, HandlerFailed(ROW), "failed", StatusCode.ERROR),
        (ANSWERED, ValueError(ROW), "ValueError", StatusCode.ERROR),
    ],
)
def test_a_failure_is_told_by_its_type_and_never_by_its_words(
    seen: CallSeen, failure: CallFailed, word: str, status: StatusCode
) -> None:
    span = Watched().call(seen, failure)

    assert attributes(span)["error.type"] == word
    assert span.status.status_code is status
    assert ROW not in span.to_json()


def test_a_peers_method_name_cannot_fill_or_draw_on_the_store_of_spans() -> None:
    span = Watched().call(ANSWERED._replace(method="\x1b[2J" + "a" * 250))

    assert span.name == attributes(span)["rpc.method"] == "\ufffd[2J" + "a" * 60


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(MissingExtra, match=r"opentelemetry-api.*psp-protocol\[spans\]"):
        spans()
