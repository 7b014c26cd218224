"""Parameters that several endpoints share, and the ledger."""

from datetime import date
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import BeforeValidator, Field

from core.domain import parse_month
from core.ledger import Ledger


def ledger_of(request: Request) -> Ledger:
    """Return the ledger of the app; raise `LedgerError` while it cannot be opened."""
    ledger: Ledger = request.app.state.open_ledger()
    return ledger


def _month(value: Any) -> date:
    if not isinstance(value, str):
        raise ValueError("month must be written YYYY-MM-01")  # noqa: TRY004  # pydantic wants a ValueError
    return parse_month(value)


Month = Annotated[date, BeforeValidator(_month), Field(examples=["2026-01-01"])]
MonthFilter = Annotated[Month | None, Query()]
Limit = Annotated[int, Query(ge=1, le=1000)]
_CURSOR: dict[str, Any] = {
    "description": "The `next_cursor` of the page before.",
    # For readers of the schema; a cursor with other characters is refused as an invalid cursor.
    "json_schema_extra": {"pattern": "^[A-Za-z0-9_-]*$"},
}
Cursor = Annotated[str | None, Query(max_length=200, **_CURSOR)]
# It holds an account_id of any length; the server limits the length of an address.
LongCursor = Annotated[str | None, Query(**_CURSOR)]
