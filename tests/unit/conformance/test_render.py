from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from psp.conformance import from_hex, from_json, to_json
from psp.wire import Promised

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.dates()
    | st.datetimes(timezones=st.just(UTC), allow_imaginary=False).map(lambda at: at.replace(fold=0))
    | st.builds(Promised, st.integers(0, 2**63 - 1))
)
KEYS = st.text() | st.sampled_from(["decimal", "bytes", "map", "promised", "float"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_every_value_comes_back_from_json_with_its_type(value: object) -> None:
    back = from_json(json.loads(json.dumps(to_json(value))))
    assert back == value
    assert repr(back) == repr(value)


def test_a_map_that_looks_like_a_type_is_still_a_map() -> None:
    assert to_json({"decimal": "1"}) == {"map": {"decimal": "1"}}
    assert to_json({"map": {"bytes": "00"}}) == {"map": {"map": {"map": {"bytes": "00"}}}}


def test_numbers_that_json_readers_round_are_text() -> None:
    assert to_json(2**53 + 1) == {"integer": "9007199254740993"}
    assert math.copysign(1, from_json(json.loads(json.dumps(to_json(-0.0))))) == -1


def test_the_forms_are_those_that_the_document_names() -> None:
    assert to_json(Decimal("1.20")) == {"decimal": "1.20"}
    assert to_json(date(2026, 1, 2)) == {"date": "2026-01-02"}
    assert to_json(datetime(2026, 1, 2, 3, 4, 5, 6, UTC)) == {
        "instant": "2026-01-02T03:04:05.000006Z"
    }
    assert to_json(b"\x00" * 64) == {"bytes": [{"repeat": "00", "times": 64}]}
    assert from_hex(["00", {"repeat": "ff01", "times": 2}]) == b"\x00\xff\x01\xff\x01"


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(TypeError, match="no value of PSP/1"):
        to_json({1, 2})
