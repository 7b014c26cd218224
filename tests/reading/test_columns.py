"""Columns as the reader works with them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.sources.parquet.columns import count_not_first_days, dates, in_calendar

days = st.dates() | st.dates().map(lambda day: day.replace(day=1)) | st.none()


@given(days=st.lists(days))
@example(days=[])
@example(days=[None])
def test_days_that_begin_no_month_are_counted(days: list[date | None]) -> None:
    others = [day for day in days if day and day.day != 1]
    assert count_not_first_days(pa.array(days, pa.date32())) == len(others)


@pytest.mark.parametrize("unit", ["ms", "ns"])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Tokyo"])
def test_midnights_are_dates_of_their_zone_also_after_2037(zone: str, unit: str, *, own: bool) -> None:
    days = [date(year, month, 1) for year in (2026, 2036, 2037, 2038, 2099) for month in range(1, 13)]
    days += days[::-1]
    instants = [datetime(day.year, day.month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) for day in days]
    stored = pa.array([*instants, None], pa.timestamp(unit, zone if own else "UTC"))
    for least, expected in ((0, days), (1, days), (-1, [day - timedelta(1) for day in days])):
        times = pc.add(stored.view(pa.int64()), least).view(stored.type)
        assert dates(times, "America/Lima" if own else zone).to_pylist() == [*expected, None]


@pytest.mark.parametrize(
    ("year", "tokyo", "new_york"),
    [
        (1, [date(1, 1, 1), date(2, 1, 1)], [None, date(1, 12, 31)]),
        (9999, [date(9999, 1, 1), None], [date(9998, 12, 31), date(9999, 12, 31)]),
    ],
)
def test_ends_of_the_calendar_are_dates_in_any_zone(
    year: int, tokyo: list[date | None], new_york: list[date | None]
) -> None:
    ends = pa.array([datetime(year, *end, tzinfo=UTC) for end in ((1, 1, 0), (12, 31, 23))])
    assert in_calendar(dates(ends, "Asia/Tokyo")).to_pylist() == tokyo
    assert in_calendar(dates(ends, "America/New_York")).to_pylist() == new_york


@pytest.mark.parametrize("zone", ["+05:30", "-0200", "+0000"])
def test_offset_has_no_daylight_saving_time(zone: str) -> None:
    moment = datetime(2099, 12, 31, 12, tzinfo=UTC)
    assert dates(pa.array([moment]).cast(pa.timestamp("us", zone)), "UTC").to_pylist() == [date(2099, 12, 31)]


def test_moment_far_beyond_the_calendar_ends_nothing() -> None:
    moments = pa.array([(30_000 + 2**32) * 86_400_000, 0]).cast(pa.timestamp("ms", "UTC"))
    assert dates(moments, "Europe/Berlin")[1].as_py() == date(1970, 1, 1)
