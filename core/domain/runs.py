"""A run: its request, its warnings and its notification."""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum


class RunStatus(StrEnum):
    """The state of a run."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class NotificationStatus(StrEnum):
    """The result of the aggregated notification to support."""

    SENT = "sent"
    LOGGED = "logged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """The request of a run: the flow's parameters, checked."""

    source_uri: str
    month: date
    dry_run: bool = False
    retry_unconfirmed: bool = False


@dataclass(frozen=True, slots=True)
class RunWarning:
    """A warning about the data; it does not stop the run."""

    code: str
    message: str
    count: int | None = None


@dataclass(frozen=True, slots=True)
class SupportMessage:
    """The aggregated notification, as sent or as it would have been sent."""

    subject: str
    body: str


@dataclass(frozen=True, slots=True)
class Notification:
    """The aggregated notification of a run with its result, and the error of a failed one."""

    message: SupportMessage
    status: NotificationStatus
    error: str | None = None
