"""Checks of input, and arithmetic of months."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.domain import (
    AlertKey,
    Decision,
    InvalidRequest,
    Resolution,
    month_number,
    months_before,
    parse_month,
)
from core.sources.window import may_hold, month_before


@given(st.dates(date(2, 1, 1)).map(lambda day: day.replace(day=1)), st.integers(0, 11))
def test_months_step_back_by_any_number(month: date, count: int) -> None:
    at_once = months_before(month, count)
    assert at_once.day == 1
    assert month_number(month) - month_number(at_once) == count
    one_by_one: date | None = month
    for _ in range(count):
        assert one_by_one is not None
        one_by_one = month_before(one_by_one)
    assert one_by_one == at_once


def test_month_before_january_is_in_the_year_before() -> None:
    january = date(2026, 1, 1)
    assert [months_before(january, count) for count in (0, 1, 12, 13)] == [
        january,
        date(2025, 12, 1),
        date(2025, 1, 1),
        date(2024, 12, 1),
    ]
    assert month_before(date(1, 2, 1)) == date(1, 1, 1)
    assert month_before(date(1, 1, 1)) is None


@pytest.mark.parametrize(
    ("least", "greatest", "holds"),
    [
        (date(2026, 1, 1), date(2026, 1, 1), True),
        (date(2025, 1, 1), date(2027, 1, 1), True),
        # The midnight of 1 January in a time zone ahead of UTC.
        (date(2025, 12, 31), date(2025, 12, 31), True),
        (date(2025, 12, 30), date(2025, 12, 30), False),
        (date(2026, 1, 31), date(2026, 3, 1), True),
        (date(2026, 2, 1), date(2026, 3, 1), False),
        (date.min, date.min, False),
        (date.max, date.max, False),
    ],
)
def test_days_of_the_month_and_the_day_before_may_be_its_rows(
    least: date,
    greatest: date,
    holds: bool,  # noqa: FBT001
) -> None:
    assert may_hold((least, greatest), date(2026, 1, 1)) is holds


def test_month_is_written_as_its_first_day() -> None:
    assert parse_month("2026-01-01") == date(2026, 1, 1)
    with pytest.raises(ValueError, match=r"first day of a month: 2026-02-01, not 2026-02-02$"):
        parse_month("2026-02-02")


@pytest.mark.parametrize(
    "text", ["", "January", "2026-1-01", "20260101", "2026-W01-1", "2026-01-01 ", "٢026-01-01"]
)
def test_month_in_another_spelling_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^month must be written YYYY-MM-01$"):
        parse_month(text)


GOOD = {
    "account_id": "Zoë\n",
    "alert_type": "at_risk",
    "by": "Zoë <zoe@example.com>",
    "note": "not in\n#amer",
}


def resolution(account_id: str, alert_type: str, by: str, note: str | None) -> Resolution:
    """Return a decision with these texts."""
    key = AlertKey(account_id, alert_type)
    return Resolution(key, date(2026, 1, 1), Decision.DELIVERED, by, note, datetime(2026, 2, 1, tzinfo=UTC))


def test_resolution_has_texts_that_a_database_holds() -> None:
    resolution(**GOOD)
    resolution(**GOOD | {"note": None})
    for name, most in (("by", 200), ("note", 2000), ("account_id", 2500), ("alert_type", 200)):
        resolution(**GOOD | {name: "x" * most})
        said = f"^{name}: must have at most {most} characters, all in UTF-8, and no NUL$"
        for text in ("\ud800", "\udfff", "a\0b", "x" * (most + 1)):
            with pytest.raises(InvalidRequest, match=said):
                resolution(**GOOD | {name: text})


@pytest.mark.parametrize("by", ["", " \n"])
def test_resolution_names_a_person(by: str) -> None:
    with pytest.raises(InvalidRequest, match=r"^by: must not be empty$"):
        resolution(**GOOD | {"by": by})
