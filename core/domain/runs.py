"""A run: its request, what its scan found, and its notification."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING

from core.domain.counts import Counts, total

if TYPE_CHECKING:  # The command line needs the domain, and seldom Arrow, which takes a fifth of a second.
    import pyarrow as pa


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
class Assessment:
    """The alerts of the month, in order of `account_id`, and the counts of the scan that found them."""

    source_version: str
    counts_by_type: Mapping[str, Counts]
    """By alert type, for every rule that is enabled."""
    warnings: tuple[RunWarning, ...]
    alerts: "pa.Table"
    """The fields of `Alert`; see `core.alerts.ALERTS`."""

    @property
    def counts(self) -> Counts:
        """Return the counts of all alert types together."""
        return total(self.counts_by_type)


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
