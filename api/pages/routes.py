"""What a browser posts: resolving an alert."""

from urllib.parse import unquote

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from api.pages.forms import read_form
from api.pages.run_pages import run_page
from api.problems import STATUS
from core.domain import (
    DEFAULT_ALERT_TYPE,
    AlertKey,
    Decision,
    InvalidRequest,
    Resolution,
    RiskAlertsError,
    check_by,
    check_note,
    parse_month,
)
from core.ledger import open_ledger
from core.run import utc_now

router = APIRouter(prefix="/pages", include_in_schema=False)

SEE_OTHER = 303


@router.post("/resolve")
async def resolve(request: Request) -> Response:
    """Resolve an alert as the form says, and show the run again; a refusal stands on top of it."""
    form = await read_form(request)
    run_id = form.get("run_id", "")
    return await run_in_threadpool(_resolve, request, run_id, form)


def _resolve(request: Request, run_id: str, form: dict[str, str]) -> Response:
    ledger = open_ledger(request.app.state.settings.database_url)
    # Before anything is changed: without a run there is no page to come back to.
    ledger.history.run(run_id)
    try:
        ledger.resolve(_resolution(form))
    except RiskAlertsError as error:
        return run_page(request, ledger.history, run_id, notice=error.message, status=STATUS[error.code])
    return RedirectResponse(f"{request.scope['root_path']}/runs/{run_id}#unconfirmed", SEE_OTHER)


def _resolution(form: dict[str, str]) -> Resolution:
    try:
        return Resolution(
            key=AlertKey(unquote(form["account_id"]), form.get("alert_type", DEFAULT_ALERT_TYPE)),
            month=parse_month(form["month"]),
            decision=Decision(form["decision"]),
            by=check_by(form["by"]),
            note=check_note(form.get("note", "")),
            at=utc_now(),
        )
    except KeyError as missing:
        raise InvalidRequest(f"the form: {missing.args[0]} is missing") from None
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
