"""Strategies for domains, rules and scopes, small enough that their parts often overlap."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from psp.capability import (
    NOTHING,
    ROUNDING_LADDER,
    UNLIMITED,
    Operation,
    RowDomain,
    Scope,
    TableRule,
    between,
    one_of,
    starts_with,
)

NUMBERS = st.integers(-4, 4) | st.integers(-8, 8).map(lambda it: Decimal(it) / 2)
DATES = st.integers(0, 6).map(lambda it: date(2014, 5, 1) + timedelta(days=it))
TEXTS = st.text("ab", min_size=1, max_size=3)
TRUTHS = st.booleans()
VALUES = NUMBERS | DATES | TEXTS | TRUTHS

intervals = st.builds(
    between, NUMBERS, st.none() | NUMBERS, low_open=TRUTHS, high_open=TRUTHS
) | st.builds(between, st.none() | DATES, DATES, low_open=TRUTHS, high_open=TRUTHS)
sets = st.one_of(*(st.lists(it, max_size=5).map(one_of) for it in (NUMBERS, DATES, TEXTS, TRUTHS)))
domains: st.SearchStrategy[RowDomain] = st.one_of(
    st.just(NOTHING), intervals, sets, TEXTS.map(starts_with)
)

COLUMNS = ("a", "b", "c")
columns = st.frozensets(st.sampled_from(COLUMNS))
limits = st.sampled_from([1, 2, 100])
open_limits = limits | st.just(UNLIMITED)
rules = st.builds(
    TableRule,
    operations=st.frozensets(st.sampled_from(Operation)),
    output=columns,
    filters=columns,
    groups=columns,
    rows=st.dictionaries(st.sampled_from(COLUMNS), domains, max_size=2),
    aggregates_only=TRUTHS,
    floor=limits,
    rounding=st.sampled_from(ROUNDING_LADDER),
    rows_max=limits,
    groups_max=open_limits,
    bytes_max=open_limits,
    uses_total=open_limits,
    rows_total=open_limits,
    bytes_total=open_limits,
    local=TRUTHS,
)
scopes = st.builds(
    Scope,
    st.dictionaries(st.sampled_from(["sales", "rents"]), rules),
    st.dictionaries(
        st.sampled_from(["ledger", "service"]), st.frozensets(st.sampled_from(["prove", "audit"]))
    ),
)
rows = st.fixed_dictionaries({name: VALUES | st.none() for name in COLUMNS})
