"""Comparing a service with a contract: what is accepted, and every difference that is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import pytest

from psp.endpoint import Exposed, Promise, Result, Stub, check_implements, method, remote
from psp.values import Value


class Contract(Stub):
    @remote
    def total(self, year: int, currency: Literal["USD", "EUR"] = "USD") -> Result[Decimal]: ...

    @remote
    def find(self, words: list[str], page: int = ...) -> Result[list[Value]]: ...

    @remote
    def compare(self, other: Contract, year: int | Promise[int]) -> Result[bool]: ...


class ContractService(Exposed):
    @method
    def total(self, year: int, currency: str = "USD") -> Decimal:
        return Decimal(year)

    @method
    def find(self, words: list[str], page: int = 0) -> list[str]:
        return words

    @method
    def compare(self, other: Exposed, year: int) -> bool:
        return other is self

    @method
    def beyond_the_contract(self) -> None: ...


def test_a_service_that_does_what_the_contract_says_and_more_is_accepted() -> None:
    check_implements(ContractService, Contract)


def differences(**methods: Any) -> str:
    """What is said of the service with some of its methods replaced."""
    marked = {name: method(function) for name, function in methods.items()}
    service = type("ContractService", (ContractService,), marked)
    with pytest.raises(TypeError, match="ContractService does not implement Contract") as caught:
        check_implements(service, Contract)
    return str(caught.value)


def test_a_missing_method_is_told_with_how_it_is_called() -> None:
    class Empty(Exposed):
        pass

    with pytest.raises(TypeError) as caught:
        check_implements(Empty, Contract)
    assert str(caught.value).count("it has no method") == 3
    assert "it has no method total(year, currency)" in str(caught.value)


def test_another_name_order_or_count_of_parameters_is_told() -> None:
    def total(self: Any, currency: str, year: int) -> None: ...

    def find(self: Any) -> None: ...

    said = differences(total=total, find=find)
    assert "total takes (currency, year) and is called with (year, currency)" in said
    assert "find takes () and is called with (words, page)" in said


def test_a_narrower_type_is_told() -> None:
    def total(self: Any, year: str, currency: Literal["USD"]) -> None: ...

    def find(self: Any, words: list[int], page: int | None = None) -> None: ...

    said = differences(total=total, find=find)
    assert "total takes str as year, not int" in said
    assert "total takes typing.Literal['USD'] as currency, not typing.Literal['USD', 'EUR']" in said
    assert "find takes list[int] as words, not list[str]" in said
    assert "page" not in said.partition("find takes")[2]


def test_a_promise_is_compared_by_what_it_will_be() -> None:
    def compare(self: Any, other: Exposed, year: bytes) -> None: ...

    said = differences(compare=compare)
    assert "compare takes bytes as year, not int" in said
    assert "compare takes bytes as year, not psp" in said


def test_an_object_needs_a_parameter_for_objects() -> None:
    def compare(self: Any, other: int, year: int) -> None: ...

    assert "compare takes int as other, not Contract" in differences(compare=compare)


def test_what_a_caller_may_leave_out_must_have_a_default() -> None:
    def find(self: Any, words: list[str], page: int) -> None: ...

    def total(self: Any, year: int, currency: str) -> None: ...  # The stub fills in its own.

    said = differences(find=find, total=total)
    assert "find needs page, which a caller may leave out" in said
    assert "total" not in said


def test_a_further_parameter_needs_a_default() -> None:
    def total(self: Any, year: int, currency: str, reason: str) -> None: ...

    assert "total needs reason" in differences(total=total)


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        (int, float),
        (list[int], Sequence[int | None]),
        (dict[str, int], Mapping[str, float]),
        (list[int], list),
        (Literal[1, 2], int | str),
        (bytes, "Value"),
    ],
)
def test_a_wider_type_is_accepted(asked: Any, served: Any) -> None:
    def ask(self: Any, what: Any) -> None: ...

    ask.__annotations__ = {"what": served}
    service = type("Service", (Exposed,), {"ask": method(ask)})

    def call(self: Any, what: Any) -> Any: ...

    call.__annotations__ = {"what": asked, "return": Result[None]}
    check_implements(service, type("Asker", (Stub,), {"ask": remote(call)}))
