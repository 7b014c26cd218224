"""A stored run, its alerts and outcomes as the API and the command line show them."""

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field

from core.domain import (
    DEFAULT_ALERT_TYPE,
    AlertKey,
    AlertStatus,
    Counts,
    Decision,
    NotificationStatus,
    OutcomeStatus,
    RunStatus,
)


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
    """An alert with its result in one run."""

    account_id: str
    alert_type: str
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

    @property
    def key(self) -> AlertKey:
        """Return what makes the alert unique within its month."""
        return AlertKey(self.account_id, self.alert_type)

    @property
    def label(self) -> str:
        """Return the account, and the alert type unless it is the default, for a report."""
        kind = "" if self.alert_type == DEFAULT_ALERT_TYPE else f", {self.alert_type}"
        return f"{self.account_name} ({self.account_id}){kind}"


class DeliveryErrorView(BaseModel):
    """An alert that failed or is unconfirmed."""

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
    counts: Counts
    counts_by_type: dict[str, Counts] = Field(description="The same counts for each alert type by its name.")
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


class ResolutionView(BaseModel):
    """A person's decision about an alert that was unconfirmed."""

    decision: Decision
    by: str = Field(description="Who decided, as they gave it.")
    at: datetime
    note: str | None
    run_id: str = Field(description="The run whose try may have been delivered.")
    reason: str | None = Field(description="Why it was unconfirmed.")


class OutcomeView(BaseModel):
    """The result of an alert across all runs of its month."""

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
    resolutions: list[ResolutionView] = Field(description="People's decisions about it, oldest first.")


class OutcomePage(BaseModel):
    """Outcomes, newest month first, in order of account_id."""

    outcomes: list[OutcomeView]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last.")


class ChannelView(BaseModel):
    """How many alerts of a run belong to a channel, by status."""

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

    alert_type: str
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
    counts: Counts
    counts_by_type: dict[str, Counts]
    warnings: list[WarningView]
    alerts: list[PreviewAlertView]
