"""Outcomes over HTTP, and the resolution of unconfirmed alerts: by a program and by the form of a page."""

import asyncio
from datetime import date
from typing import Annotated
from urllib.parse import parse_qsl, unquote

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationError
from starlette.convertors import PathConvertor, register_url_convertor

from api.parameters import Cursor, Limit, ledger_of
from core import domain
from core.ledger import OutcomePage, OutcomeView
from core.run import utc_now

router = APIRouter(tags=["outcomes"])


class _AnyText(PathConvertor):
    """The rest of a path, unlike `path` also with line breaks: an account_id may have them."""

    regex = "(?s:.*)"


register_url_convertor("any_text", _AnyText())


class ResolutionBody(BaseModel):
    """The decision of a person who has looked in the channel."""

    model_config = ConfigDict(extra="forbid")

    decision: domain.Decision = Field(
        description="`delivered`: the alert is in the channel and is never sent again; `send_again`: it is"
        " not, and the next run of the month sends it."
    )
    by: StrictStr = Field(description="The person who decides.", examples=["Ana Sousa"])
    note: StrictStr | None = Field(default=None, description="The reason, for later readers.")
    alert_type: StrictStr = Field(default=domain.DEFAULT_ALERT_TYPE, description="The type of the alert.")


@router.get("/outcomes")
def list_outcomes(  # noqa: PLR0913, PLR0917  # the filters of the list
    request: Request,
    month: domain.Month | None = None,
    status: Annotated[domain.OutcomeStatus | None, Query(examples=["unconfirmed"])] = None,
    alert_type: Annotated[str | None, Query(examples=["at_risk"])] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> OutcomePage:
    """List outcomes across runs, newest month first. `status=unconfirmed` lists what needs a decision."""
    return ledger_of(request).history.outcomes(
        month=month, status=status, alert_type=alert_type, limit=limit, cursor=cursor
    )


@router.post("/outcomes/{month}/{account_id:any_text}/resolve")
async def resolve_outcome(
    month: domain.Month, account_id: str, body: ResolutionBody, request: Request
) -> OutcomeView:
    """Record a person's decision about an `unconfirmed` alert, after a look in its channel.

    Nothing is sent now. After `send_again`, the next run of the month sends the alert, and no other
    unconfirmed one.
    """
    # Not in a thread that serves reads, because a write may wait for another process.
    return await asyncio.to_thread(_resolve, request, month, account_id, body)


class ResolutionForm(ResolutionBody):
    """The fields of the form on the page of a run."""

    month: domain.Month
    # The page encodes the ID, because a browser changes line breaks in the fields of a form.
    account_id: Annotated[str, AfterValidator(unquote)]


def _is_from_this_site(request: Request) -> bool:
    """Return whether a page of this host sent the request, as the browser states."""
    fetched_by = request.headers.get("sec-fetch-site")
    if fetched_by is not None:
        return fetched_by == "same-origin"
    # Without TLS, browsers send Sec-Fetch-Site only to localhost.
    return request.headers.get("origin", "").partition("://")[2] == request.headers.get("host")


@router.post("/pages/runs/{run_id}/resolve", include_in_schema=False)
async def resolve_by_form(request: Request, run_id: str) -> Response:
    """Resolve an alert by the form of a page, and redirect the browser to the run."""
    # Against CSRF. Only this endpoint needs it: the form of another site cannot send JSON to the others.
    if not _is_from_this_site(request):
        raise domain.InvalidRequest("the form: not sent by a page of this host; send it from the run's page")
    fields = parse_qsl((await request.body()).decode("ascii", "replace"))
    try:
        form = ResolutionForm.model_validate(dict(fields))
    except ValidationError:
        raise domain.InvalidRequest("the form: not complete; open the page again and send its form") from None
    await asyncio.to_thread(_resolve, request, form.month, form.account_id, form)
    return RedirectResponse(f"{request.scope['root_path']}/runs/{run_id}#unconfirmed", 303)


def _resolve(request: Request, month: date, account_id: str, body: ResolutionBody) -> OutcomeView:
    key = domain.AlertKey(account_id, body.alert_type)
    decision = domain.Resolution(key, month, body.decision, by=body.by, note=body.note, at=utc_now())
    return ledger_of(request).resolve(decision)
