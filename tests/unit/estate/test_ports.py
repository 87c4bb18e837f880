"""Ports of a new estate: free now, and not those of one that is not running yet."""

from __future__ import annotations

import secrets
import socket

import pytest

from psp.errors import EstateError
from psp.estate import _ports

HOST = "127.0.0.1"


def begin_at(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    monkeypatch.setattr(secrets, "randbelow", lambda width: port - _ports.PORT_FIRST)


def test_a_port_that_is_taken_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = _ports.free_ports(HOST, 3)
    with socket.socket() as taken:
        taken.bind((HOST, second))
        taken.listen()
        begin_at(monkeypatch, first)
        found = _ports.free_ports(HOST, 2)
    assert found[0] == first
    assert found[1] >= third


def test_two_estates_of_which_none_runs_yet_have_ports_of_their_own() -> None:
    """They may meet by chance, 5 in 24,589; not three times in a row."""
    met = [set(_ports.free_ports(HOST, 3)) & set(_ports.free_ports(HOST, 3)) for _ in range(3)]
    assert not all(met)


def test_the_search_goes_on_from_the_other_end(monkeypatch: pytest.MonkeyPatch) -> None:
    begin_at(monkeypatch, _ports.PORT_LAST - 1)
    found = _ports.free_ports(HOST, 2)
    assert _ports.PORT_FIRST <= found[-1] < _ports.PORT_FIRST + 1000


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(EstateError, match=r"0 found from 7411 to 32000"):
        _ports.free_ports("192.0.2.1", 1)
