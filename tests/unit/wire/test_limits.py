from __future__ import annotations

import pytest

from psp.errors import MalformedFrame
from psp.wire import INITIAL_LIMITS, limits_from_hello_untrusted, raised_limits


def test_a_hello_names_only_what_it_raises() -> None:
    assert raised_limits(INITIAL_LIMITS) == {}
    assert raised_limits(INITIAL_LIMITS._replace(exports=20_000)) == {"exports": 20_000}


def test_raised_limits_arrive_and_unknown_names_are_ignored() -> None:
    found = limits_from_hello_untrusted({"exports": 20_000, "of_the_future": 1})
    assert found == INITIAL_LIMITS._replace(exports=20_000)


def test_a_hello_can_only_raise() -> None:
    with pytest.raises(MalformedFrame, match="only raise"):
        limits_from_hello_untrusted({"calls_in_flight": 1})
