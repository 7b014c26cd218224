"""The words of the domain: what a run is asked, what an alert is, and what can become of it."""

import re
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

AT_RISK = "At Risk"
"""The one `status` that is at risk; anything else, in any other spelling, is not."""


class AlertType(StrEnum):
    """Kinds of alert; part of the key that makes an alert unique."""

    AT_RISK = "at_risk"


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class OutcomeStatus(StrEnum):
    """What became of an alert for good, over all runs: the `status` of `alert_outcomes`."""

    SENDING = "sending"
    """Claimed by a live run and not yet answered."""
    SENT = "sent"
    """Slack took it."""
    FAILED = "failed"
    """Surely not delivered; a later run tries again."""
    UNCONFIRMED = "unconfirmed"
    """May have been delivered; not sent again unless asked."""


class AlertStatus(StrEnum):
    """What became of an alert in one run: the `status` of `run_alerts`."""

    PENDING = "pending"
    SENDING = "sending"
    SENT = "sent"
    SKIPPED_REPLAY = "skipped_replay"
    FAILED = "failed"
    UNCONFIRMED = "unconfirmed"
    WOULD_SEND = "would_send"


class Decision(StrEnum):
    """What a person who looked into the channel says of an unconfirmed alert."""

    DELIVERED = "delivered"
    """It is there: never sent again."""
    SEND_AGAIN = "send_again"
    """It is not there: the next run of the month sends it."""


class NotificationStatus(StrEnum):
    """How the aggregated notification to support went."""

    SENT = "sent"
    LOGGED = "logged"
    FAILED = "failed"


UNKNOWN_REGION = "unknown_region"
"""The reason of an alert whose region has no channel."""


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is asked to do; the flow's parameters, checked."""

    source_uri: str
    month: date
    dry_run: bool = False
    retry_unconfirmed: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """An account whose winning row of the month is At Risk and whose ARR passes the threshold."""

    account_id: str
    account_name: str
    account_region: str | None
    arr: int | None
    renewal_date: date | None
    account_owner: str | None
    duration_months: int
    risk_start_month: date


@dataclass(frozen=True, slots=True)
class RoutedAlert:
    """An alert with its Slack channel, or with the reason why it has none (exactly one of the two)."""

    alert: Alert
    channel: str | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one alert in one run."""

    account_id: str
    status: AlertStatus
    channel: str | None = None
    reason: str | None = None
    error: str | None = None
    attempts: int = 0
    sent_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a person decided of one unconfirmed alert, who it was, and why."""

    account_id: str
    month: date
    decision: Decision
    by: str
    note: str | None
    at: datetime


@dataclass(frozen=True, slots=True)
class RunWarning:
    """Something about the data that a person should know; it did not stop the run."""

    code: str
    message: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Scan:
    """What reading the source cost and found, apart from the alerts themselves."""

    rows_scanned: int = 0
    duplicates_found: int = 0
    at_risk: int = 0
    below_threshold: int = 0


@dataclass(frozen=True, slots=True)
class Assessment:
    """What the source says of the month: its alerts, in order of `account_id`, and how they were found."""

    source_version: str
    scan: Scan
    warnings: tuple[RunWarning, ...]
    alerts: tuple[Alert, ...]


@dataclass(frozen=True, slots=True)
class Counts:
    """The counts of a run: `at_risk` = `below_threshold` + the four that follow it."""

    rows_scanned: int = 0
    duplicates_found: int = 0
    at_risk: int = 0
    below_threshold: int = 0
    alerts_sent: int = 0
    skipped_replay: int = 0
    failed_deliveries: int = 0
    would_send: int = 0
    unknown_region: int = 0
    unconfirmed: int = 0


@dataclass(frozen=True, slots=True)
class SupportMessage:
    """The aggregated notification of one run, as sent or as it would have been sent."""

    subject: str
    body: str


def parse_month(text: str) -> date:
    """Read a month as the outside writes it, `YYYY-MM-01`; raises `ValueError` for anything else."""
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        raise ValueError("month must be written YYYY-MM-01")
    return check_month(date.fromisoformat(text))


def check_month(month: date) -> date:
    """Give `month` back; raises `ValueError` unless it is the first day of one."""
    if month.day != 1:
        raise ValueError(f"month must be the first day of a month: {month.replace(day=1)}, not {month}")
    return month


def check_by(text: str) -> str:
    """Give the name of whoever decides, trimmed; raises `ValueError` unless it is one short line."""
    name = text.strip()
    if not 0 < len(name) <= 200 or not name.isprintable():  # noqa: PLR2004  # enough for a name and an address
        raise ValueError("by must be 1 to 200 characters on one line")
    return name


def check_note(text: str) -> str | None:
    """Give a note, trimmed, or none; raises `ValueError` for one that is long or holds control characters."""
    note = text.strip()
    if len(note) > 2000 or not note.replace("\r\n", "").replace("\n", "").isprintable():  # noqa: PLR2004
        raise ValueError("note must be at most 2000 characters, without control characters")
    return note or None


def month_number(day: date) -> int:
    """Count the months from January of year 0 to that of `day`."""
    return day.year * 12 + day.month - 1


def months_before(month: date, count: int) -> date:
    """Step back `count` months from `month`, both of them first days."""
    index = month_number(month) - count
    return date(index // 12, index % 12 + 1, 1)
