"""What became of alerts for good over HTTP, and the settling of those that nobody knows it of."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr
from starlette.convertors import Convertor, register_url_convertor

from api.parameters import Limit, LongCursor, Month, MonthFilter
from api.problems import responses
from core.domain import Decision, OutcomeStatus, Settlement, check_by, check_note
from core.ledger import Ledger, open_ledger
from core.run import utc_now
from core.views import OutcomePage, OutcomeView

router = APIRouter(tags=["outcomes"])


class SettlementBody(BaseModel):
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


@router.get("/outcomes", responses=responses("ledger_unavailable"))
def list_outcomes(
    request: Request,
    month: MonthFilter = None,
    status: Annotated[OutcomeStatus | None, Query(examples=["unconfirmed"])] = None,
    limit: Limit = 100,
    cursor: LongCursor = None,
) -> OutcomePage:
    """List what became of alerts for good, newest month first; `status=unconfirmed` is what to settle."""
    return _ledger(request).history.outcomes(month, status, limit, cursor)


class _AnyText(Convertor[str]):
    """Part of a path with whatever an account's id may hold, slashes and line breaks included."""

    regex = r"(?s:.*)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("any_text", _AnyText())


@router.post(
    "/outcomes/{month}/{account_id:any_text}/settle",
    responses=responses(
        "outcome_not_found",
        "already_settled",
        "not_unconfirmed",
        "invalid_request",
        "request_too_large",
        "ledger_unavailable",
    ),
)
def settle_outcome(
    month: Annotated[Month, Path()], account_id: str, body: SettlementBody, request: Request
) -> OutcomeView:
    """Settle an alert that is `unconfirmed`, once someone has looked into its channel.

    Nothing is sent by this: what is to be sent again is sent by the next run of the month, and it alone.
    """
    ledger = _ledger(request)
    ledger.decide(Settlement(account_id, month, body.decision, by=body.by, note=body.note, at=utc_now()))
    return ledger.history.outcome(month, account_id)


def _ledger(request: Request) -> Ledger:
    return open_ledger(request.app.state.settings.database_url)
