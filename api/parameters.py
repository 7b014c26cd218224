"""Parameters that several endpoints share, and the ledger."""

from datetime import date
from typing import Annotated

from fastapi import Query, Request
from pydantic import BeforeValidator, Field

from core.domain import parse_month
from core.ledger import Ledger, open_ledger


def ledger_of(request: Request) -> Ledger:
    """Return the ledger, opened again if its file was replaced; raise `LedgerError` while it cannot be."""
    return open_ledger(request.app.state.settings.database_url)


Month = Annotated[
    date, BeforeValidator(lambda value: parse_month(str(value))), Field(examples=["2026-01-01"])
]
MonthFilter = Annotated[Month | None, Query()]
Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(description="The `next_cursor` of the page before.")]
