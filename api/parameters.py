"""Parameters that several endpoints take."""

from datetime import date
from typing import Annotated, Any

from fastapi import Query
from pydantic import BeforeValidator, Field

from core.domain import parse_month


def _month(value: Any) -> date:
    if not isinstance(value, str):
        raise ValueError("month must be written YYYY-MM-01")  # noqa: TRY004  # pydantic wants a ValueError
    return parse_month(value)


Month = Annotated[date, BeforeValidator(_month), Field(examples=["2026-01-01"])]
MonthFilter = Annotated[Month | None, Query()]
Limit = Annotated[int, Query(ge=1, le=1000)]
_CURSOR: dict[str, Any] = {
    "description": "The `next_cursor` of the page before.",
    # For who reads the schema: one of another alphabet is refused as what no page gave.
    "json_schema_extra": {"pattern": "^[A-Za-z0-9_-]*$"},
}
Cursor = Annotated[str | None, Query(max_length=200, **_CURSOR)]
# It holds an account's id of any length, and is bounded by the server's bound on an address.
LongCursor = Annotated[str | None, Query(**_CURSOR)]
