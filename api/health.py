"""Whether the service could do a run right now."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from core.domain import LedgerError
from core.ledger import open_ledger, warning_about
from core.run import utc_now
from core.runtime import Settings

CHECK_SECONDS = 2
"""The longest that a health check waits for the ledger; container runtimes give up after a few seconds."""

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """What a health check finds."""

    status: Literal["ok", "unavailable"]
    ledger: str = Field(description="`ok`, or why it can't be written.")
    settings: str = Field(description="`ok`, or what is missing.")
    warnings: list[str] = Field(description="What works today and will be regretted.")


@router.get("/health", responses={503: {"model": Health, "description": "What is wrong."}})
async def health(request: Request, response: Response) -> Health:
    """Say whether the ledger can be written and the settings are complete; needs no token."""
    settings: Settings = request.app.state.settings
    forgotten = warning_about(settings.database_url)
    found = Health(
        status="ok",
        ledger=await _ledger(request.app.state.checks, settings),
        settings=_settings(settings),
        warnings=[forgotten] if forgotten else [],
    )
    if not found.ledger == found.settings == "ok":
        found.status = "unavailable"
        response.status_code = 503
    return found


async def _ledger(checks: ThreadPoolExecutor, settings: Settings) -> str:
    """Try the ledger in a thread of its own: those of other requests may all be busy."""
    check = asyncio.wrap_future(
        checks.submit(lambda: open_ledger(settings.database_url).check_writable(utc_now()))
    )
    # One that is given up goes on waiting for the write lock, and later checks wait behind it.
    await asyncio.wait({check}, timeout=CHECK_SECONDS)
    if not check.done():
        check.add_done_callback(asyncio.Future.exception)
        return f"The ledger takes no commit within {CHECK_SECONDS} s"
    try:
        check.result()
    except LedgerError as error:
        return error.message
    return "ok"


def _settings(settings: Settings) -> str:
    missing = []
    if not settings.slack_configured:
        missing.append("SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL")
    if not settings.regions:
        missing.append("REGIONS")
    return f"missing: {', '.join(missing)}" if missing else "ok"
