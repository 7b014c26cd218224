"""Alerts as reports and the API show them, in the words of their types."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from pydantic import BaseModel, Field

from core import domain
from core.alerts.registry import RULES


def shown_months(count: int) -> str:
    """Return a number of months as `1 month` or `2 months`."""
    return f"{count} {'month' if count == 1 else 'months'}"


def shown_streak(alert_type: str, start: date, count: int) -> str:
    """Return how long an account is or was at risk, in the words of the alert type."""
    # An old run may have alerts of a type that does not exist any more.
    rule = RULES.get(alert_type, RULES[domain.DEFAULT_ALERT_TYPE])
    return rule.streak.format(
        months=shown_months(count), start=start, end=domain.months_before(start, 1 - count)
    )


class AlertFacts(BaseModel):
    """An alert, with its status and the reason of that status."""

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
    status: domain.AlertStatus
    reason: str | None

    @property
    def key(self) -> domain.AlertKey:
        """Return the key of the alert within its month."""
        return domain.AlertKey(self.account_id, self.alert_type)

    @property
    def shown_type(self) -> str:
        """Return the alert type for a report: empty for the default."""
        return "" if self.alert_type == domain.DEFAULT_ALERT_TYPE else self.alert_type

    @property
    def label(self) -> str:
        """Return the account, and the alert type unless it is the default, for a report."""
        suffix = f", {self.shown_type}" if self.shown_type else ""
        return f"{self.account_name} ({self.account_id}){suffix}"

    @property
    def streak(self) -> str:
        """Return how long the account is or was at risk, for a report."""
        return shown_streak(self.alert_type, self.risk_start_month, self.duration_months)


class AlertView(AlertFacts):
    """An alert with its result in one run."""

    error: str | None
    attempts: int
    sent_at: datetime | None

    @property
    def why(self) -> str:
        """Return the error, or the meaning of the reason, for a report."""
        return self.error or domain.reason_of(self.reason).meaning


class PreviewAlertView(AlertFacts):
    """What a run would do with an alert, and the exact message for Slack."""

    details_url: str
    message: dict[str, Any] | None = Field(description="The message for Slack; null without a channel.")


class PreviewView(BaseModel):
    """What a run of the month would do. Nothing was sent or stored."""

    month: date
    counts: domain.Counts
    counts_by_type: dict[str, domain.Counts]
    warnings: list[domain.RunWarning]
    alerts: list[PreviewAlertView]


class OpenReason(NamedTuple):
    """The open alerts that have the same reason and status."""

    reason: str
    status: domain.AlertStatus
    number: int
    """How many there are; `alerts` may have fewer."""
    alerts: list[AlertView]

    @property
    def advice(self) -> str:
        """Return what to do about them."""
        return domain.advice(self.reason, self.status)


def open_by_reason(
    alerts: Iterable[AlertView], numbers: Mapping[tuple[str | None, domain.AlertStatus], int] | None = None
) -> list[OpenReason]:
    """Group open alerts by reason and status, in this order.

    `numbers` has the number of alerts of each (reason, status), for a report that lists only some of them.
    """
    found: dict[tuple[str, domain.AlertStatus], list[AlertView]] = defaultdict(list)
    for alert in alerts:
        found[alert.reason or alert.status.value, alert.status].append(alert)
    totals = {group: len(those) for group, those in found.items()}
    totals |= {
        (reason or status.value, status): number for (reason, status), number in (numbers or {}).items()
    }
    return [OpenReason(*group, number, found[group]) for group, number in sorted(totals.items())]
