"""A run: its request, its warnings and its notification."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field, StrictBool, StrictStr

from core.domain.months import Month

_SOURCE = "gs://bucket/monthly_account_status.parquet"
SOURCE_HELP = "A Parquet file, a folder of them, or a pattern (* in the last segment): file://, gs://, s3://."
MONTH_HELP = "The first day of the month."
RETRY_HELP = "Also send unconfirmed alerts, which an earlier run may have delivered."

MONTH_NOT_IN_SOURCE = "month_not_in_source"
"""The code of the warning of a run whose month has no rows."""


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
    """The request of a run or a preview; its fields are the parameters of the flow."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    source_uri: Annotated[StrictStr, Field(max_length=4096, description=SOURCE_HELP, examples=[_SOURCE])]
    month: Annotated[Month, Field(description=MONTH_HELP)]
    dry_run: Annotated[StrictBool, Field(description="Send nothing and notify no one.")] = False
    retry_unconfirmed: Annotated[StrictBool, Field(description=RETRY_HELP)] = False


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
