"""A stored run and its alerts as the API and the command line show them."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field

from core.domain import AlertStatus, Decision, NotificationStatus, OutcomeStatus, RunStatus


class CountsView(BaseModel):
    """How a run adds up: `at_risk` is `below_threshold` and what became of the others, together."""

    rows_scanned: int = Field(description="Rows decoded from the source.")
    duplicates_found: int = Field(
        description="Rows that lost to a later row of the same account and month, among those needed."
    )
    at_risk: int = Field(description="Accounts whose winning row in the month is At Risk.")
    below_threshold: int = Field(description="Of those, the ones that ARR_THRESHOLD left out.")
    alerts_sent: int
    skipped_replay: int = Field(description="Sent by an earlier run, or being sent by another.")
    failed_deliveries: int = Field(description="Not delivered, or not known to be delivered.")
    would_send: int = Field(description="In a dry run: what would have been sent.")
    unknown_region: int = Field(description="The failed ones whose region has no channel.")
    unconfirmed: int = Field(description="The failed ones that may have been delivered.")


class WarningView(BaseModel):
    """Something about the data that a person should know."""

    code: str
    message: str
    count: int | None = None


class ErrorView(BaseModel):
    """What ended a run."""

    code: str
    message: str


class AlertView(BaseModel):
    """An alert with what became of it in one run."""

    account_id: str
    account_name: str
    account_region: str | None
    arr: int | None
    renewal_date: date | None
    account_owner: str | None
    duration_months: int
    risk_start_month: date
    channel: str | None
    status: AlertStatus
    reason: str | None
    error: str | None
    attempts: int
    sent_at: datetime | None


class DeliveryErrorView(BaseModel):
    """An alert that was not delivered, or not surely."""

    account_id: str
    channel: str | None
    reason: str | None
    error: str | None


class SupportMessageView(BaseModel):
    """The aggregated notification to support, word for word."""

    subject: str
    body: str


class RunSummary(BaseModel):
    """A run without its alerts."""

    run_id: str
    flow_run_id: str | None
    source_uri: str
    source_version: str | None
    month: date
    dry_run: bool
    retry_unconfirmed: bool
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    counts: CountsView
    warnings: list[WarningView]
    error: ErrorView | None


class RunView(RunSummary):
    """A run as `GET /runs/{run_id}` gives it."""

    support_notification: NotificationStatus | None
    support_error: str | None
    support_message: SupportMessageView | None
    sample_alerts: list[AlertView]
    sample_errors: list[DeliveryErrorView]


class RunPage(BaseModel):
    """Runs, newest first."""

    runs: list[RunSummary]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class AlertPage(BaseModel):
    """Alerts of one run, in order of account_id."""

    alerts: list[AlertView]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class SettlementView(BaseModel):
    """What a person decided of an alert that was unconfirmed."""

    decision: Decision
    by: str = Field(description="Who decided, as they gave it.")
    at: datetime
    note: str | None
    run_id: str = Field(description="The run whose try it was that may have been delivered.")
    reason: str | None = Field(description="Why it was unconfirmed.")


class OutcomeView(BaseModel):
    """What became of an alert for good, over all runs of its month."""

    account_id: str
    account_name: str | None = Field(description="As the run that wrote the outcome saw it.")
    month: date
    alert_type: str
    region: str | None
    channel: str | None
    status: OutcomeStatus
    reason: str | None
    error: str | None
    attempts: int
    run_id: str = Field(description="The run that tried it last.")
    sent_at: datetime | None
    updated_at: datetime
    settlements: list[SettlementView] = Field(description="What people decided of it, oldest first.")


class OutcomePage(BaseModel):
    """Outcomes, newest month first, in order of account_id."""

    outcomes: list[OutcomeView]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class ChannelView(BaseModel):
    """How many alerts of a run went to a channel, by what became of them."""

    channel: str | None
    alerts: dict[AlertStatus, int]


class MonthView(BaseModel):
    """What the last run that succeeded for a month found."""

    month: date
    run_id: str
    at_risk: int
    arr: int = Field(description="Dollars a year of the alerts whose ARR is known.")


class PreviewAlertView(BaseModel):
    """What a run would do with an alert, and the message exactly as Slack would get it."""

    account_id: str
    account_name: str
    account_region: str | None
    arr: int | None
    renewal_date: date | None
    account_owner: str | None
    duration_months: int
    risk_start_month: date
    channel: str | None
    details_url: str
    status: AlertStatus
    reason: str | None
    message: dict[str, Any] | None = Field(
        description="What Slack would get; null for an alert that has no channel."
    )


class PreviewView(BaseModel):
    """What a run of the month would do; nothing of it was sent or stored."""

    month: date
    counts: CountsView
    warnings: list[WarningView]
    alerts: list[PreviewAlertView]
