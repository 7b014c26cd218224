"""An alert, its channel and its result."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

AT_RISK = "At Risk"
"""The one `status` that is at risk; no other spelling is."""

DEFAULT_ALERT_TYPE = "at_risk"
"""The alert type of the specification, and the default."""


class AlertKey(NamedTuple):
    """The key of an alert within its month."""

    account_id: str
    alert_type: str
    """The name of the rule that found the alert, as in `ALERT_TYPES`."""


class OutcomeStatus(StrEnum):
    """The result of an alert across all runs of its month: the `status` of `alert_outcomes`."""

    SENDING = "sending"
    """Claimed by a live run and not yet answered."""
    SENT = "sent"
    """Slack accepted it."""
    FAILED = "failed"
    """Not delivered; a later run tries again."""
    UNCONFIRMED = "unconfirmed"
    """May have been delivered; not sent again unless asked."""


class AlertStatus(StrEnum):
    """The result of an alert in one run: the `status` of `run_alerts`."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    SKIPPED_REPLAY = "skipped_replay"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    WOULD_SEND = "would_send"


@dataclass(frozen=True, slots=True)
class Alert:
    """An account that a rule found in the month, with an ARR that passes the threshold."""

    account_id: str
    account_name: str
    account_region: str | None
    arr: int | None
    renewal_date: date | None
    account_owner: str | None
    duration_months: int
    risk_start_month: date
    alert_type: str
    channel: str | None = None
    reason: str | None = None
    """Why the alert has no channel."""

    @property
    def key(self) -> AlertKey:
        """Return the key of the alert within its month."""
        return AlertKey(self.account_id, self.alert_type)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The result of an alert: planned or recorded in one run, or on record across runs."""

    key: AlertKey
    status: AlertStatus
    channel: str | None = None
    reason: str | None = None
    error: str | None = None
    attempts: int = 0
    sent_at: datetime | None = None
    run_id: str = ""
    """The last run that recorded it, when it is read across runs."""
