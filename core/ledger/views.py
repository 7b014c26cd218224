"""Runs, alerts and outcomes, and pages of them, as the API and the command line show them."""

from datetime import date, datetime
from typing import Annotated, NamedTuple

from pydantic import BaseModel, Field

from core import domain
from core.alerts import AlertView

NextCursor = Annotated[str | None, Field(description="The `cursor` of the next page; null on the last one.")]


class ErrorView(BaseModel):
    """The error that ended a run."""

    code: str
    message: str


class DeliveryErrorView(BaseModel):
    """An alert that failed or is unconfirmed."""

    account_id: str
    channel: str | None
    reason: str | None
    error: str | None


class RunSummary(BaseModel):
    """A run without its alerts."""

    run_id: str
    flow_run_id: str | None
    source_uri: str
    source_version: str | None
    month: date
    dry_run: bool
    retry_unconfirmed: bool
    status: domain.RunStatus
    started_at: datetime
    finished_at: datetime | None
    counts: domain.Counts
    counts_by_type: dict[str, domain.Counts] = Field(description="The same counts by alert type.")
    warnings: list[domain.RunWarning]
    error: ErrorView | None

    @property
    def title(self) -> str:
        """Return the title of the run for a report."""
        return f"Risk alerts {self.month:%Y-%m}{' (dry run)' if self.dry_run else ''}"

    @property
    def alert_types(self) -> list[str]:
        """Return the alert types of the run, or the default type as long as no rule has run."""
        return list(self.counts_by_type) or [domain.DEFAULT_ALERT_TYPE]


class RunView(RunSummary):
    """A run with samples of its alerts and errors."""

    support_notification: domain.NotificationStatus | None
    support_error: str | None
    support_message: domain.SupportMessage | None
    sample_alerts: list[AlertView]
    sample_errors: list[DeliveryErrorView]


class RunPage(BaseModel):
    """Runs, newest first."""

    runs: list[RunSummary]
    next_cursor: NextCursor


class AlertPage(BaseModel):
    """Alerts of one run, in order of account_id."""

    alerts: list[AlertView]
    next_cursor: NextCursor


class ResolutionView(BaseModel):
    """A person's decision about an alert that was unconfirmed."""

    decision: domain.Decision
    by: str = Field(description="The person who decided.")
    at: datetime
    note: str | None
    run_id: str = Field(description="The run whose message may have been delivered.")
    reason: str | None = Field(description="Why the alert was unconfirmed.")


class OutcomeView(BaseModel):
    """The result of an alert across all runs of its month."""

    account_id: str
    account_name: str | None = Field(description="The name in the run that recorded the outcome.")
    month: date
    alert_type: str
    region: str | None
    channel: str | None
    status: domain.OutcomeStatus
    reason: str | None
    error: str | None
    attempts: int
    run_id: str = Field(description="The last run that recorded the outcome.")
    sent_at: datetime | None
    updated_at: datetime
    resolutions: list[ResolutionView] = Field(description="Decisions about the alert, oldest first.")


class OutcomePage(BaseModel):
    """Outcomes, newest month first, in order of account_id."""

    outcomes: list[OutcomeView]
    next_cursor: NextCursor


class ChannelTable(NamedTuple):
    """The number of a run's alerts: a row for each channel, a column for each status."""

    columns: list[str]
    rows: list[tuple[str, list[int]]]

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """Return the rows as text, without the zeros."""
        return [(label, *(f"{number:,}" if number else "" for number in row)) for label, row in self.rows]
