"""Runs and previews over HTTP."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, Field
from pydantic_core import to_json

from api.pages import run_page, runs_page, wants_page
from api.parameters import Cursor, Limit, ledger_of
from core.alerts import PreviewView
from core.domain import AlertStatus, Month, RunRequest, RunStatus
from core.ledger import AlertPage, RunPage, RunView
from core.run import prepare_run
from flows.preview import preview
from flows.start import accept, run_month

router = APIRouter(tags=["runs"])


class RunStarted(BaseModel):
    """The ID of the run. The run is over or, if the request had `Prefer: respond-async`, accepted."""

    run_id: str = Field(examples=["0d9ff1ad-6a7e-4e5a-b0b0-0f4f9e4a3d2c"])


_ACCEPTED = {
    "model": RunStarted,
    "description": "With `Prefer: respond-async`.",
    "headers": {"Location": {"description": "The path of the run.", "schema": {"type": "string"}}},
}


@router.post("/runs", responses={202: _ACCEPTED})
async def start_run(
    body: RunRequest,
    request: Request,
    response: Response,
    prefer: Annotated[
        list[str], Header(default_factory=list, description="`respond-async` answers at once (RFC 7240).")
    ],
) -> RunStarted:
    """Run the month and answer when the run is over, even if Slack refused messages.

    The run goes on when the client disconnects, and `GET /runs` lists it.
    """
    state = request.app.state
    # In a thread that no run occupies, so that a bad request, or the answer at once, waits for no run.
    run = await asyncio.to_thread(prepare_run, body, state.settings)
    preferences = (part.partition(";")[0] for part in ",".join(prefer).lower().split(","))
    if "respond-async" in map(str.strip, preferences):
        await asyncio.to_thread(state.runs.submit, lambda: accept(run))
        response.status_code = 202
        response.headers["Location"] = f"{request.scope['root_path']}/runs/{run.run_id}"
    else:
        await state.runs.call(lambda: run_month(run))
    return RunStarted(run_id=run.run_id)


@router.post("/preview", response_model=PreviewView)
async def preview_run(body: RunRequest, request: Request) -> Response:
    """Return what a run would do, with every message as Slack would get it. Nothing is sent or stored."""
    state = request.app.state

    def work() -> bytes:
        # FastAPI would serialize many alerts (megabytes) in the event loop, and delay other requests. As a
        # string, they would take four bytes per character.
        return to_json(preview(body, state.settings))

    return Response(await state.previews.call(work), media_type="application/json")


@router.get("/runs", response_model=RunPage)
def list_runs(
    request: Request,
    month: Month | None = None,
    status: RunStatus | None = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> RunPage | Response:
    """List runs, newest first. A browser, which asks for HTML, gets a page."""
    history = ledger_of(request).history
    found = history.runs(month=month, status=status, limit=limit, cursor=cursor)
    if wants_page(request):
        return runs_page(request, found, month=month, status=status, limit=limit)
    return found


@router.get("/runs/{run_id}", response_model=RunView)
def get_run(run_id: str, request: Request) -> RunView | Response:
    """Return a run with its counts, and samples of its alerts and errors. A browser gets a page."""
    history = ledger_of(request).history
    return run_page(request, history, run_id) if wants_page(request) else history.run(run_id)


@router.get("/runs/{run_id}/alerts")
def list_alerts(
    run_id: str,
    request: Request,
    status: AlertStatus | None = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> AlertPage:
    """List every alert that the run saw, with its result in that run."""
    return ledger_of(request).history.alerts(run_id, status=status, limit=limit, cursor=cursor)
