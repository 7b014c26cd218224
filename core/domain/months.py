"""Months, each represented by its first day."""

import re
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field


def parse_month(text: str) -> date:
    """Parse a month written `YYYY-MM-01`; raise `ValueError` for anything else."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("must be written YYYY-MM-01")
    first = date.fromisoformat(f"{text[:8]}01")
    if text != str(first):
        raise ValueError(f"must be the first day of a month: {first}, not {text}")
    return first


Month = Annotated[
    date, BeforeValidator(lambda value: parse_month(str(value))), Field(examples=["2026-01-01"])
]
"""A month of a request."""


def month_number(day: date) -> int:
    """Return the number of months from January of year 0 to the month of `day`."""
    return day.year * 12 + day.month - 1


def months_before(month: date, count: int) -> date:
    """Return the month that is `count` months before `month`; both are first days."""
    index = month_number(month) - count
    return date(index // 12, index % 12 + 1, 1)
