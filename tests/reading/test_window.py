"""The rules that several stages of the reader follow."""

from datetime import date

import pyarrow as pa
import pytest

from core.sources.window import concat, may_hold, month_before, passes_threshold
from tests.reading.worlds import MONTH


@pytest.mark.parametrize(
    ("days", "found"),
    [
        ((date(2026, 1, 1), date(2026, 1, 1)), True),
        ((date(2024, 5, 1), date(2027, 5, 1)), True),
        ((date(2026, 1, 31), date(2027, 5, 1)), True),
        ((date(2026, 2, 1), date(2027, 5, 1)), False),
        ((date(2024, 5, 1), date(2025, 12, 31)), True),
        ((date(2024, 5, 1), date(2025, 12, 30)), False),
        (None, True),
    ],
)
def test_days_of_a_month_begin_one_day_before_it(days: tuple[date, date] | None, found: bool) -> None:  # noqa: FBT001
    assert may_hold(days, MONTH) is found


def test_first_month_of_the_calendar_has_none_before() -> None:
    assert month_before(date(2026, 1, 1)) == date(2025, 12, 1)
    assert month_before(date(1, 2, 1)) == date.min
    assert month_before(date.min) is None
    assert may_hold((date.min, date.min), date.min)


@pytest.mark.parametrize(
    ("threshold", "passing"),
    [
        (10, [10, 11, 2**63 - 1, None]),
        (2**63 - 1, [2**63 - 1, None]),
    ],
)
def test_arr_passes_at_the_threshold_or_unknown(threshold: int, passing: list[int | None]) -> None:
    arr = pa.array([-1, 9, 10, 11, 2**63 - 1, None], pa.int64())
    for kind in (arr, pa.chunked_array([arr])):
        assert kind.filter(passes_threshold(kind, threshold)).to_pylist() == passing


def test_no_tables_make_an_empty_one() -> None:
    schema = pa.schema([("position", pa.int64())])
    one = pa.table({"position": [1]}, schema)
    assert concat(schema, []) == schema.empty_table()
    assert concat(schema, iter([one, one])) == pa.table({"position": [1, 1]}, schema)
