from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal

import pytest

from psp.endpoint import Exposed, method
from psp.errors import Invalid
from psp.values import Value


class Thermostat(Exposed):
    secret = "nobody reads this by naming it"

    @method
    def set(self, degrees: Decimal, room: str = "hall") -> None: ...

    @method
    async def watch(self, rooms: list[str], until: date | None = None) -> Thermostat:
        return self

    @method(inline=False)
    def calibrate(self, table: Mapping[str, Sequence[int]], mode: Literal["fast", "slow"]) -> int:
        return 0

    @method
    def anything(self, value: Value, on: bool = False, at: datetime | None = None) -> Value:
        return value

    def not_marked(self) -> None: ...


class Better(Thermostat):
    @method
    def boost(self) -> float:
        return 1.5


def check(name: str, *arguments: Value) -> None:
    Better.psp_methods[name].check_arguments(arguments)


def test_only_marked_methods_are_in_the_table_and_the_table_cannot_be_changed() -> None:
    assert set(Thermostat.psp_methods) == {"set", "watch", "calibrate", "anything"}
    assert set(Better.psp_methods) == {*Thermostat.psp_methods, "boost"}
    with pytest.raises(TypeError):
        Thermostat.psp_methods["not_marked"] = None  # type: ignore[index]


def test_a_class_of_two_parents_serves_what_both_do_and_the_nearest_of_one_name() -> None:
    class Clock(Exposed):
        @method
        def time(self) -> int:
            return 12

    class Kitchen(Better, Clock):
        @method
        def time(self) -> int:
            return 13

    class Hall(Clock, Thermostat):
        pass

    assert set(Kitchen.psp_methods) == set(Better.psp_methods) | {"time"}
    assert Kitchen.psp_methods["time"].function is Kitchen.time
    assert set(Hall.psp_methods) == set(Thermostat.psp_methods) | {"time"}


def test_the_table_says_where_a_method_runs() -> None:
    table = Better.psp_methods

    assert [name for name in table if table[name].is_async] == ["watch"]
    assert [name for name in table if table[name].is_inline] == ["set", "anything", "boost"]


GOOD: list[tuple[str, tuple[Value, ...]]] = [
    ("set", (Decimal("21.5"),)),
    ("set", (Decimal("21.5"), "kitchen")),
    ("watch", ([],)),
    ("watch", (["hall"], date(2026, 1, 1))),
    ("watch", (["hall"], None)),
    ("calibrate", ({"hall": [1, 2], "attic": []}, "fast")),
    ("anything", ({"a": [1, b"x", None]}, True, datetime(2026, 1, 1, tzinfo=UTC))),
    ("boost", ()),
]


@pytest.mark.parametrize(("name", "arguments"), GOOD)
def test_arguments_that_fit_pass(name: str, arguments: tuple[Value, ...]) -> None:
    check(name, *arguments)


BAD: list[tuple[str, tuple[Value, ...], str]] = [
    ("set", (), "set takes 1 to 2 arguments, and the call has 0"),
    ("set", (Decimal(1), "hall", 3), "the call has 3"),
    ("boost", (1,), "boost takes 0 arguments"),
    ("set", (21.5,), "set needs Decimal as degrees, and the call has float"),
    ("set", (Decimal(1), b"hall"), "needs str as room, and the call has bytes"),
    ("watch", ("hall",), "as rooms, and the call has str"),
    ("watch", (["hall", 3],), "as rooms, and the call has list"),
    ("watch", ([], datetime(2026, 1, 1, tzinfo=UTC)), "as until, and the call has datetime"),
    ("calibrate", ({"hall": [True]}, "fast"), "as table"),
    ("calibrate", ({}, "medium"), "as mode"),
    ("anything", (1, 1), "needs bool as on, and the call has int"),
]


@pytest.mark.parametrize(("name", "arguments", "words"), BAD)
def test_arguments_that_do_not_fit_are_named_by_type_and_never_quoted(
    name: str, arguments: tuple[Value, ...], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        check(name, *arguments)


def test_a_method_that_cannot_be_called_over_the_wire_fails_when_its_class_is_made() -> None:
    with pytest.raises(TypeError, match="needs a type"):

        class Untyped(Exposed):
            @method
            def f(self, x) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001

    with pytest.raises(TypeError, match="cannot come over the wire"):

        class Variadic(Exposed):
            @method
            def f(self, *x: int) -> None: ...

    with pytest.raises(TypeError, match="not a type that travels"):

        class Foreign(Exposed):
            @method
            def f(self, x: set[int]) -> None: ...
