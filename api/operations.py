"""The index, the health and the metrics of the service."""

import asyncio
from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from pydantic import BaseModel, Field

from api.pages import wants_page
from api.parameters import ledger_of
from core.domain import LedgerError
from core.runtime import Settings

CHECK_SECONDS = 2
"""The longest that a health check waits for the ledger; container runtimes give up after a few seconds."""

router = APIRouter()
open_router = APIRouter(tags=["health"])
"""The endpoints that need no token."""


class _Metrics(Response):
    media_type = CONTENT_TYPE_PLAIN_0_0_4


class Health(BaseModel):
    """The result of a health check."""

    status: Literal["ok", "unavailable"]
    ledger: str = Field(description="`ok`, or why it cannot be written.")
    settings: str = Field(description="`ok`, or what is missing.")


def missing_settings(settings: Settings) -> str:
    """Return the names of the settings without which no alert can be sent; empty if all are set."""
    needed = {
        "SLACK_WEBHOOK_BASE_URL or SLACK_WEBHOOK_URL": settings.slack_webhook,
        "REGIONS": settings.regions,
    }
    return ", ".join(name for name, given in needed.items() if not given)


@router.get("/", tags=["health"], response_model=dict[str, str])
async def index(request: Request) -> dict[str, str] | Response:
    """Return the paths of docs, health and runs; redirect a browser to the runs."""
    root = request.scope["root_path"]
    if wants_page(request):
        return RedirectResponse(f"{root}/runs", 303)
    return {name: f"{root}/{name}" for name in ("docs", "health", "runs")}


@open_router.get("/health", responses={503: {"model": Health, "description": "What is wrong."}})
async def health(request: Request, response: Response) -> Health:
    """Check that the ledger can be written and that the settings are complete. Needs no token."""
    state = request.app.state
    missing = missing_settings(state.settings)
    ledger = "ok"
    # All checks share one thread. After a timeout, a running check continues; a queued one is canceled.
    check = state.checks.submit(lambda: ledger_of(request).check_writable())
    try:
        await asyncio.wait_for(asyncio.wrap_future(check), CHECK_SECONDS)
    except TimeoutError:
        ledger = f"The ledger did not commit a write within {CHECK_SECONDS} s"
    except LedgerError as error:
        ledger = error.message
    settings = f"missing: {missing}" if missing else "ok"
    well = ledger == settings == "ok"
    response.status_code = 200 if well else 503
    return Health(status="ok" if well else "unavailable", ledger=ledger, settings=settings)


@router.get("/metrics", tags=["metrics"], response_class=_Metrics, response_description="Prometheus text")
def metrics(request: Request) -> Response:
    """Return metrics as Prometheus text: those of the ledger, and those of the runs of this process."""
    return _Metrics(generate_latest() + generate_latest(ledger_of(request).history.gauges()))
