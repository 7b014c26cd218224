"""An alert, its result, and a person's decision about it."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import NamedTuple

from core.domain.errors import InvalidRequest

AT_RISK = "At Risk"
"""The only `status` that is at risk, in exactly this spelling."""

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
    """Not delivered; a later run retries it."""
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


class Alert(NamedTuple):
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
    """The channel of its region; None for an unknown region."""

    @property
    def key(self) -> AlertKey:
        """Return the key of the alert within its month."""
        return AlertKey(self.account_id, self.alert_type)


class Delivery(NamedTuple):
    """The result of an alert: planned or recorded in one run, or on record across runs."""

    account_id: str
    alert_type: str
    status: AlertStatus
    channel: str | None = None
    reason: str | None = None
    error: str | None = None
    attempts: int = 0
    sent_at: datetime | None = None
    run_id: str = ""
    """The last run that recorded it, when it is read across runs."""

    @property
    def key(self) -> AlertKey:
        """Return the key of the alert within its month."""
        return AlertKey(self.account_id, self.alert_type)


class Decision(StrEnum):
    """What a person found in the channel of an unconfirmed alert."""

    DELIVERED = "delivered"
    """The message is there: it is never sent again."""
    SEND_AGAIN = "send_again"
    """The message is not there: the next run of the month sends it."""


RESOLVED = {Decision.DELIVERED: "resolved_delivered", Decision.SEND_AGAIN: "resolved_send_again"}
"""The reason of an outcome that a person has resolved."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """A person's decision about one unconfirmed alert: who, when and why."""

    key: AlertKey
    month: date
    decision: Decision
    by: str
    note: str | None
    at: datetime

    def __post_init__(self) -> None:
        """Raise `InvalidRequest` if `by` is blank, or if a text is too long or cannot be stored."""
        if not self.by.strip():
            raise InvalidRequest("by: must not be empty")
        for name, text, most in (
            ("by", self.by, 200),
            ("note", self.note or "", 2000),
            ("account_id", self.key.account_id, 2500),
            ("alert_type", self.key.alert_type, 200),
        ):
            if not re.fullmatch(rf"[^\0\ud800-\udfff]{{0,{most}}}", text):
                raise InvalidRequest(f"{name}: must have at most {most} characters, all in UTF-8, and no NUL")
