"""Columns as the reader works with them."""

from datetime import date

import pyarrow as pa
from hypothesis import example, given
from hypothesis import strategies as st

from core.sources.parquet.columns import count_not_first_days

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
