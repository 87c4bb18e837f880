from __future__ import annotations

from datetime import date, timedelta

import apsw
import pytest

from psp.capability import between, one_of
from psp.plan import Bucket, GroupKey
from psp.totebox._dialect import SQLITE
from psp.totebox._listed import LISTED_KEYS_MAX, bucket_text, listed_keys
from psp.totebox._manifest import Column, ColumnType

DAY = Column(name="day", type=ColumnType.DATE, from_=date(2014, 5, 20), to=date(2014, 7, 3))
SIZE = Column(name="size", type=ColumnType.TEXT, values=("S", "M"))
OPEN = Column(name="city", type=ColumnType.TEXT)
MONTH = GroupKey("day", Bucket.MONTH)


def test_every_bucket_between_the_ends_is_listed() -> None:
    assert listed_keys([(MONTH, DAY, [])]) == [("2014-05",), ("2014-06",), ("2014-07",)]


def test_a_domain_takes_whole_buckets_out() -> None:
    june_on = between(date(2014, 6, 30), None)

    assert listed_keys([(MONTH, DAY, [june_on])]) == [("2014-06",), ("2014-07",)]


def test_several_listed_columns_list_their_product() -> None:
    assert listed_keys([(GroupKey("size"), SIZE, [one_of(["M"])]), (MONTH, DAY, [])]) == [
        ("M", "2014-05"),
        ("M", "2014-06"),
        ("M", "2014-07"),
    ]


def test_one_column_that_is_not_listed_hides_all_keys() -> None:
    assert listed_keys([(MONTH, DAY, []), (GroupKey("city"), OPEN, [])]) is None


def test_days_themselves_can_be_listed() -> None:
    days = listed_keys([(GroupKey("day"), DAY, [between(None, date(2014, 5, 21))])])

    assert days == [(date(2014, 5, 20),), (date(2014, 5, 21),)]


def test_a_list_too_long_to_print_is_no_list() -> None:
    wide = Column(name="n", type=ColumnType.INTEGER, values=tuple(range(LISTED_KEYS_MAX + 1)))
    ages = Column(name="day", type=ColumnType.DATE, from_=date(1, 1, 1), to=date(9999, 12, 31))

    assert listed_keys([(GroupKey("n"), wide, [])]) is None
    assert listed_keys([(GroupKey("day", Bucket.YEAR), ages, [])]) is None


@pytest.mark.parametrize("bucket", list(Bucket))
def test_python_and_sqlite_agree_on_every_bucket(bucket: Bucket) -> None:
    """ISO weeks around New Year are where two implementations differ, if they do."""
    connection = apsw.Connection(":memory:")
    sql = f"SELECT {SQLITE.buckets[bucket].format('?1')}"
    for start in (date(2014, 12, 20), date(2015, 12, 20), date(2019, 12, 20), date(999, 12, 20)):
        for day in (start + timedelta(days=at) for at in range(0, 120, 3)):
            [[found]] = connection.execute(sql, (day.isoformat(),)).fetchall()
            assert found == bucket_text(day, bucket)
