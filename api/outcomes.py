"""Outcomes over HTTP, and the resolution of unconfirmed alerts."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr
from starlette.convertors import Convertor, register_url_convertor

from api.parameters import Limit, LongCursor, Month, MonthFilter
from api.problems import responses
from core.domain import (
    DEFAULT_ALERT_TYPE,
    AlertKey,
    Decision,
    OutcomeStatus,
    Resolution,
    check_by,
    check_note,
)
from core.ledger import Ledger, OutcomePage, OutcomeView, open_ledger
from core.run import utc_now

router = APIRouter(tags=["outcomes"])


class ResolutionBody(BaseModel):
    """What a person who looked into the channel decides."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision = Field(
        description="`delivered`: it is in the channel and never sent again; `send_again`: it is not, and the"
        " next run of the month sends it."
    )
    by: Annotated[StrictStr, AfterValidator(check_by)] = Field(
        description="Who decides.", examples=["Ana Sousa"]
    )
    note: Annotated[StrictStr, AfterValidator(check_note)] | None = Field(
        default=None, description="Why, for whoever asks later."
    )
    alert_type: StrictStr = Field(default=DEFAULT_ALERT_TYPE, description="Which alert of the account.")


@router.get("/outcomes", responses=responses("ledger_unavailable"))
def list_outcomes(  # noqa: PLR0913, PLR0917  # what can be asked of the list
    request: Request,
    month: MonthFilter = None,
    status: Annotated[OutcomeStatus | None, Query(examples=["unconfirmed"])] = None,
    alert_type: Annotated[str | None, Query(examples=["at_risk"])] = None,
    limit: Limit = 100,
    cursor: LongCursor = None,
) -> OutcomePage:
    """List outcomes across runs, newest month first; `status=unconfirmed` is what needs a decision."""
    return _ledger(request).history.outcomes(
        month=month, status=status, alert_type=alert_type, limit=limit, cursor=cursor
    )


class _AnyText(Convertor[str]):
    """Part of a path with whatever an account's id may hold, slashes and line breaks included."""

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
    """Record a person's decision about an `unconfirmed` alert, after a look into its channel.

    Nothing is sent by this: what is to be sent again is sent by the next run of the month, and it alone.
    """
    ledger = _ledger(request)
    key = AlertKey(account_id, body.alert_type)
    ledger.resolve(Resolution(key, month, body.decision, by=body.by, note=body.note, at=utc_now()))
    return ledger.history.outcome(month, key)


def _ledger(request: Request) -> Ledger:
    return open_ledger(request.app.state.settings.database_url)
