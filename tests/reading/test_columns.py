"""Columns as the reader works with them."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.sources.parquet.columns import count_not_first_days, dates

far, near = st.dates(), st.dates(date(2025, 12, 20), date(2026, 2, 10))
close_together = st.lists(near | near.map(lambda day: day.replace(day=1)) | st.none())
far_apart = st.lists(far | far.map(lambda day: day.replace(day=1)))


@given(days=close_together | far_apart)
@example(days=[date(2025, 12, 31), date(2025, 12, 31), None])
@example(days=[date(2025, 12, 30), date(2025, 12, 31), date(2026, 1, 1), None])
@example(days=[date.min, date(2025, 12, 31), date.max, None])
def test_days_that_begin_no_month_are_counted(days: list[date | None]) -> None:
    others = [day for day in days if day and day.day != 1]
    assert count_not_first_days(pa.array(days, pa.date32())) == len(others)


@pytest.mark.parametrize("unit", ["ms", "ns"])
@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Tokyo"])
def test_midnights_are_dates_of_their_zone_also_after_2037(zone: str, own: bool, unit: str) -> None:  # noqa: FBT001
    days = [date(year, month, 1) for year in (2026, 2036, 2037, 2038, 2099) for month in range(1, 13)]
    instants = [datetime(day.year, day.month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) for day in days]
    stored = pa.array([*instants, None], pa.timestamp(unit, zone if own else "UTC"))
    for least, expected in ((0, days), (1, days), (-1, [day - timedelta(1) for day in days])):
        times = pc.add(stored.view(pa.int64()), least).view(stored.type)
        assert dates(times, "America/Lima" if own else zone).to_pylist() == [*expected, None]


@pytest.mark.parametrize("year", [1, 9999])
def test_ends_of_the_calendar_are_dates_in_any_zone(year: int) -> None:
    ends = pa.array([datetime(year, *end, tzinfo=UTC) for end in ((1, 1, 0), (12, 31, 23))])
    for zone in ("Asia/Tokyo", "America/New_York"):
        assert len(dates(ends, zone)) == 2
