"""Outcomes over HTTP, and the resolution of unconfirmed alerts: by a program and by the form of a page."""

from typing import Annotated
from urllib.parse import parse_qs, unquote

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr
from starlette.concurrency import run_in_threadpool
from starlette.convertors import Convertor, register_url_convertor

from api.pages.run_pages import run_page
from api.parameters import Limit, LongCursor, Month, MonthFilter, ledger_of
from api.problems import STATUS, responses
from core.domain import (
    DEFAULT_ALERT_TYPE,
    AlertKey,
    Decision,
    InvalidRequest,
    OutcomeStatus,
    Resolution,
    RiskAlertsError,
    check_by,
    check_note,
    parse_month,
)
from core.ledger import OutcomePage, OutcomeView
from core.run import utc_now

router = APIRouter(tags=["outcomes"])


class ResolutionBody(BaseModel):
    """The decision of a person who has looked in the channel."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision = Field(
        description="`delivered`: the alert is in the channel and is never sent again; `send_again`: it is"
        " not, and the next run of the month sends it."
    )
    by: Annotated[StrictStr, AfterValidator(check_by)] = Field(
        description="Who decides.", examples=["Ana Sousa"]
    )
    note: Annotated[StrictStr, AfterValidator(check_note)] | None = Field(
        default=None, description="The reason, for later readers."
    )
    alert_type: StrictStr = Field(default=DEFAULT_ALERT_TYPE, description="Which alert of the account.")


@router.get("/outcomes", responses=responses("ledger_unavailable"))
def list_outcomes(  # noqa: PLR0913, PLR0917  # the filters of the list
    request: Request,
    month: MonthFilter = None,
    status: Annotated[OutcomeStatus | None, Query(examples=["unconfirmed"])] = None,
    alert_type: Annotated[str | None, Query(examples=["at_risk"])] = None,
    limit: Limit = 100,
    cursor: LongCursor = None,
) -> OutcomePage:
    """List outcomes across runs, newest month first. `status=unconfirmed` lists what needs a decision."""
    return ledger_of(request).history.outcomes(
        month=month, status=status, alert_type=alert_type, limit=limit, cursor=cursor
    )


class _AnyText(Convertor[str]):
    """Part of a path with any account_id, slashes and line breaks included."""

    regex = r"(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_text", _AnyText())


@router.post(
    "/outcomes/{month}/{account_id:any_text}/resolve",
    responses=responses(
        "outcome_not_found",
        "already_resolved",
        "not_unconfirmed",
        "invalid_request",
        "request_too_large",
        "ledger_unavailable",
    ),
)
def resolve_outcome(
    month: Annotated[Month, Path()], account_id: str, body: ResolutionBody, request: Request
) -> OutcomeView:
    """Record a person's decision about an `unconfirmed` alert, after a look in its channel.

    Nothing is sent now: the next run of the month sends an alert that is to be sent again, and only it.
    """
    ledger = ledger_of(request)
    key = AlertKey(account_id, body.alert_type)
    ledger.resolve(Resolution(key, month, body.decision, by=body.by, note=body.note, at=utc_now()))
    return ledger.history.outcome(month, key)


@router.post("/pages/resolve", include_in_schema=False)
async def resolve_by_form(request: Request) -> Response:
    """Resolve an alert by the form of a page, and show the run again, with the reason of a refusal."""
    return await run_in_threadpool(_resolve_by_form, request, await request.body())


def _resolve_by_form(request: Request, body: bytes) -> Response:
    form = _read_form(body)
    run_id = form.get("run_id", "")
    ledger = ledger_of(request)
    # Before anything is changed: without a run there is no page to show.
    ledger.history.run(run_id)
    try:
        ledger.resolve(_resolution(form))
    except RiskAlertsError as error:
        return run_page(request, ledger.history, run_id, notice=error.message, status=STATUS[error.code])
    return RedirectResponse(f"{request.scope['root_path']}/runs/{run_id}#unconfirmed", 303)


def _read_form(body: bytes) -> dict[str, str]:
    """Return the fields of a form; raise `InvalidRequest` for a body that is no form."""
    try:
        fields = parse_qs(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=20)
    except ValueError:
        raise InvalidRequest("the form: can't be read") from None
    return {name: values[-1] for name, values in fields.items()}


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
