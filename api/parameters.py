"""Parameters that several endpoints share, and the ledger."""

from typing import Annotated

from fastapi import Query, Request

from core.ledger import Ledger, open_ledger


def ledger_of(request: Request) -> Ledger:
    """Return the ledger; open it again if its file was replaced; raise `LedgerError` if that fails."""
    return open_ledger(request.app.state.settings.database_url)


Limit = Annotated[int, Query(ge=1, le=1000)]
Cursor = Annotated[str | None, Query(description="The `next_cursor` of the page before.")]
