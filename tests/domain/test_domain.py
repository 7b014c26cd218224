"""Checks of input, and arithmetic of months."""

from datetime import UTC, date, datetime
from typing import Any

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
from core.sources.window import prior_month


@given(st.dates(date(2, 1, 1)).map(lambda day: day.replace(day=1)), st.integers(0, 11))
def test_months_step_back_by_any_number(month: date, count: int) -> None:
    at_once = months_before(month, count)
    assert at_once.day == 1
    assert month_number(month) - month_number(at_once) == count
    one_by_one = month
    for _ in range(count):
        one_by_one = prior_month(one_by_one)
    assert one_by_one == at_once


def test_calendar_has_no_month_before_its_first() -> None:
    assert prior_month(date(1, 2, 1)) == date(1, 1, 1)
    assert prior_month(date(1, 1, 1)) is None


SPELLING = "must be written YYYY-MM-01"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("2026-02-02", "must be the first day of a month: 2026-02-01, not 2026-02-02"),
        ("2026-02-30", "must be the first day of a month: 2026-02-01, not 2026-02-30"),
        ("2026-13-05", "month must be in 1..12.*"),
        ("", SPELLING),
        ("2026-1-01", SPELLING),
        ("20260101", SPELLING),
        ("2026-W01-1", SPELLING),
        ("2026-01-01 ", SPELLING),
        ("٢026-01-01", SPELLING),
    ],
)
def test_month_is_written_as_its_first_day(text: str, error: str) -> None:
    assert parse_month("2026-01-01") == date(2026, 1, 1)
    with pytest.raises(ValueError, match=f"^{error}$"):
        parse_month(text)


def resolution(**texts: str | None) -> Resolution:
    good = {"account_id": "Zoë\n", "alert_type": "at_risk", "by": "Zoë", "note": "not in\n#amer"}
    given: dict[str, Any] = good | texts
    key = AlertKey(given.pop("account_id"), given.pop("alert_type"))
    at = datetime(2026, 2, 1, tzinfo=UTC)
    return Resolution(key, date(2026, 1, 1), Decision.DELIVERED, **given, at=at)


@pytest.mark.parametrize(
    ("name", "most"), [("by", 200), ("note", 2000), ("account_id", 2500), ("alert_type", 200)]
)
def test_resolution_has_texts_that_a_database_holds(name: str, most: int) -> None:
    resolution(**{name: "x" * most})
    said = f"^{name}: must have at most {most} characters, all in UTF-8, and no NUL$"
    for text in ("\ud800", "\udfff", "a\0b", "x" * (most + 1)):
        with pytest.raises(InvalidRequest, match=said):
            resolution(**{name: text})


def test_resolution_names_a_person_and_needs_no_note() -> None:
    resolution(note=None)
    for by in ("", " \n"):
        with pytest.raises(InvalidRequest, match=r"^by: must not be empty$"):
            resolution(by=by)
