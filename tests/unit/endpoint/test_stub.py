"""Typed stubs: what a method of one sends, what it gives, and which classes cannot be defined."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypedDict

import pytest

from psp.endpoint import ByteStream, Promise, Reference, Result, Stub, remote
from psp.values import Value


class Terms(TypedDict):
    rent: Decimal
    months: int


class Original(Stub):
    @remote
    def proof(self, tree_size: int) -> Result[list[bytes]]: ...


class Contract(Stub):
    """One lease contract."""

    @remote
    def original(self) -> Original: ...

    @remote
    def total(self, year: int, currency: Literal["USD", "EUR"] = "USD") -> Result[Decimal]:
        """What was paid in a year."""

    @remote
    def terms(self) -> Promise[dict[str, Value]]: ...

    @remote
    def typed_terms(self) -> Result[Terms]: ...

    @remote
    def scan(self) -> Result[ByteStream]: ...

    @remote
    def compare(self, other: Contract, year: int | Promise[int]) -> Result[bool]: ...

    @remote
    def find(self, text: str, page: int = ..., size: int = ...) -> Result[list[Value]]: ...

    @remote
    def owner(self) -> Owner: ...  # Defined below: stubs may name each other.

    def _helper(self) -> Result[Decimal]:
        return self.total(2026)


class Owner(Stub):
    @remote
    def contracts(self, number: int) -> Contract: ...


@dataclass
class Target:
    """Stands for a reference: it notes what would be sent."""

    calls: list[tuple[str, tuple[object, ...], bool]] = field(default_factory=list)
    released: int = 0

    def call(self, method: str, *arguments: Any, is_last: bool = False) -> Target:
        self.calls.append((method, arguments, is_last))
        return self

    def release(self) -> None:
        self.released += 1


def sent(call: Callable[[Contract], object]) -> tuple[str, tuple[object, ...], bool]:
    target = Target()
    call(Contract.of(target))
    (only,) = target.calls
    return only


def test_a_method_that_gives_a_stub_gives_one_at_once_and_keeps_the_answer() -> None:
    target = Target()
    original = Contract.of(target).original()
    original.proof(8)

    assert type(original) is Original
    assert target.calls == [("original", (), False), ("proof", (8,), True)]


def test_a_result_is_the_last_of_its_answer_and_a_promise_is_kept() -> None:
    assert sent(lambda c: c.total(2026, "USD")) == ("total", (2026, "USD"), True)
    assert sent(lambda c: c.scan()) == ("scan", (), True)
    assert sent(lambda c: c.terms()) == ("terms", (), False)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.total(2026, "EUR"),
        lambda c: c.total(2026, currency="EUR"),
        lambda c: c.total(currency="EUR", year=2026),
    ],
)
def test_named_arguments_go_to_their_places(call: Callable[[Contract], object]) -> None:
    assert sent(call) == ("total", (2026, "EUR"), True)


def test_a_default_is_filled_in_and_an_ellipsis_is_left_to_the_peer() -> None:
    assert sent(lambda c: c.total(2026)) == ("total", (2026, "USD"), True)
    assert sent(lambda c: c.find("rent")) == ("find", ("rent",), True)
    assert sent(lambda c: c.find("rent", 2)) == ("find", ("rent", 2), True)
    assert sent(lambda c: c.find("rent", page=2)) == ("find", ("rent", 2), True)


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.total(),
        lambda c: c.total(1, "USD", 3),
        lambda c: c.total(1, year=1),
        lambda c: c.total(1, colour="red"),
        lambda c: c.find("rent", size=9),  # A hole before it, which only the peer could fill.
    ],
)
def test_arguments_that_do_not_fit_are_a_type_error_and_nothing_is_sent(
    call: Callable[[Any], object],
) -> None:
    target = Target()
    with pytest.raises(TypeError, match=r"Contract\.\w+ takes \(.*and the call has"):
        call(Contract.of(target))
    assert target.calls == []


def test_a_stub_as_an_argument_goes_as_what_it_stands_for() -> None:
    other = Target()
    assert sent(lambda c: c.compare(Contract.of(other), 2026)) == ("compare", (other, 2026), True)


def test_a_stub_may_name_one_that_is_defined_below_it() -> None:
    assert type(Contract.of(Target()).owner().contracts(1)) is Contract


def test_a_stub_of_a_stub_stands_for_the_same_object() -> None:
    target = Target()
    Contract.of(Original.of(target)).terms()
    assert target.calls == [("terms", (), False)]


def test_a_subclass_has_the_methods_of_its_parent() -> None:
    class House(Contract):
        @remote
        def rooms(self) -> Result[int]: ...

    assert {"rooms", "total"} <= set(House.psp_calls)
    assert "rooms" not in Contract.psp_calls


def test_leaving_the_block_gives_the_object_back() -> None:
    target = Target()
    with Contract.of(target) as contract:
        assert target.released == 0
        assert type(contract) is Contract
    assert target.released == 1


async def test_leaving_an_async_block_gives_the_object_back() -> None:
    target = Target()
    async with Contract.of(target):
        assert target.released == 0
    assert target.released == 1


async def test_awaiting_a_stub_of_a_held_reference_gives_the_stub() -> None:
    contract = Contract.of(Target())
    assert await contract is contract


def test_a_helper_with_an_underscore_is_an_ordinary_method() -> None:
    assert sent(lambda c: c._helper()) == ("total", (2026, "USD"), True)


def test_help_shows_what_was_written() -> None:
    assert Contract.total.__doc__ == "What was paid in a year."
    assert list(inspect.signature(Contract.total).parameters) == ["self", "year", "currency"]
    assert Contract.total.__qualname__ == "Contract.total"


def define(hints: dict[str, Any], *, name: str = "ask", marked: bool = True) -> None:
    """Define a stub with one method `ask(self, what)` of these annotations."""

    def ask(self: Stub, what: Any) -> Any: ...

    ask.__annotations__ = hints
    type("Broken", (Stub,), {name: remote(ask) if marked else ask})


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ({"what": int, "return": int}, r"not there at once.*Result\[int\]"),
        ({"what": int, "return": None}, "returns NoneType"),
        ({"what": int}, "returns None"),
        ({"what": int, "return": ByteStream}, r"Result\[ByteStream\]"),
        ({"what": int, "return": Result[set[int]]}, "no answer is a"),
        ({"what": int, "return": Promise[complex]}, "no answer is a complex"),
        ({"what": set[int], "return": Result[int]}, r"what is of .*, which does not travel"),
        ({"what": dict[int, str], "return": Result[int]}, "does not travel"),
        ({"what": int | Result[int], "return": Result[int]}, "does not travel"),
        ({"return": Result[int]}, "what needs a type"),
    ],
)
def test_a_wrong_annotation_is_a_type_error_where_the_class_is_defined(
    hints: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        define(hints)


def test_a_call_without_its_mark_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"Broken\.ask is not marked\. Put @remote above"):
        define({"what": int, "return": Result[int]}, marked=False)


@pytest.mark.parametrize("name", ["_ask", "__await__", "of", "release", "result", "psp_calls"])
def test_names_of_pythons_or_psps_own_cannot_be_calls(name: str) -> None:
    with pytest.raises(TypeError, match="Choose another"):
        define({"what": int, "return": Result[int]}, name=name)


def test_a_name_that_is_never_defined_is_a_type_error_at_the_first_call() -> None:
    class Lost(Stub):
        @remote
        def ask(self) -> Nowhere: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(TypeError, match="names a type that is not defined"):
        Lost.of(Target()).ask()


def test_keyword_only_parameters_cannot_go_over_the_wire() -> None:
    with pytest.raises(TypeError, match="year cannot go over the wire"):

        class Broken(Stub):
            @remote
            def total(self, *, year: int) -> Result[int]: ...


def test_a_reference_may_be_an_argument() -> None:
    class Taker(Stub):
        @remote
        def take(self, what: Reference | None) -> Result[None]: ...

    target = Target()
    Taker.of(target).take(None)
    assert target.calls == [("take", (None,), True)]
