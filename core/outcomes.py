"""The rules of replay, apart from any database: what a run may do with an alert, and how a run adds up."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from core.domain import (
    UNKNOWN_REGION,
    AlertStatus,
    Counts,
    Decision,
    Delivery,
    OutcomeStatus,
    RoutedAlert,
    Scan,
)

RETRIED = "retry_of_unconfirmed"
"""The reason of an alert that is sent again, on request, though it may have been delivered before."""

DECIDED = {Decision.DELIVERED: "settled_delivered", Decision.SEND_AGAIN: "settled_send_again"}
"""The reason of an outcome that a person has settled."""

STATUS_OF = {Decision.DELIVERED: OutcomeStatus.SENT, Decision.SEND_AGAIN: OutcomeStatus.FAILED}
"""What a decision makes of an outcome: what is not in the channel is surely not delivered."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is on record of an alert from earlier runs, or from one that runs right now."""

    account_id: str
    status: OutcomeStatus
    channel: str | None
    reason: str | None
    error: str | None
    attempts: int
    run_id: str
    sent_at: datetime | None


@dataclass(frozen=True, slots=True)
class Report:
    """What support is told of an open alert: once, and again only when one of these has changed."""

    account_id: str
    status: OutcomeStatus
    reason: str | None
    channel: str | None
    region: str | None
    """As given, where that is what is wrong."""
    tried_by: str | None
    """The run whose try may have been delivered: after each such try the channel is to be looked at anew."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one notification told support, and at which address: at none, when it was only logged."""

    reports: tuple[Report, ...]
    to: str | None
    at: datetime


def report_of(routed: RoutedAlert, outcome: Outcome) -> Report | None:
    """Say what support is to know of an alert; nothing, unless it failed or is unconfirmed."""
    if outcome.status not in {OutcomeStatus.FAILED, OutcomeStatus.UNCONFIRMED}:
        return None
    return Report(
        account_id=outcome.account_id,
        status=outcome.status,
        reason=outcome.reason,
        channel=outcome.channel,
        region=routed.alert.account_region if outcome.reason == UNKNOWN_REGION else None,
        tried_by=outcome.run_id if outcome.status is OutcomeStatus.UNCONFIRMED else None,
    )


def foresee(routed: RoutedAlert, outcome: Outcome | None, *, retry_unconfirmed: bool) -> Delivery:
    """Say what a run is to make of an alert, given what is on record of it.

    `PENDING` means that the run may claim and send it; any other status is the run's last word on it.
    """
    account_id, channel = routed.alert.account_id, routed.channel
    if outcome is not None:
        if outcome.status is OutcomeStatus.SENT:
            return Delivery(
                account_id,
                AlertStatus.SKIPPED_REPLAY,
                outcome.channel,
                reason="already_sent",
                sent_at=outcome.sent_at,
            )
        if outcome.status is OutcomeStatus.SENDING:
            return Delivery(
                account_id, AlertStatus.SKIPPED_REPLAY, outcome.channel, reason="being_sent_by_another_run"
            )
        # Without a channel there is no sending it again, and what may have been delivered stays so.
        if outcome.status is OutcomeStatus.UNCONFIRMED and not (retry_unconfirmed and channel):
            return Delivery(
                account_id,
                AlertStatus.UNCONFIRMED,
                outcome.channel,
                reason=outcome.reason,
                error=outcome.error,
                attempts=outcome.attempts,
            )
    if channel is None:
        return Delivery(account_id, AlertStatus.FAILED, reason=routed.reason)
    return Delivery(account_id, AlertStatus.PENDING, channel)


def claimed(routed: RoutedAlert, outcome: Outcome | None) -> Delivery:
    """Say what a claimed alert is; one that may have been delivered before keeps that in mind."""
    again = outcome is not None and outcome.status is OutcomeStatus.UNCONFIRMED
    return Delivery(
        routed.alert.account_id, AlertStatus.SENDING, routed.channel, reason=RETRIED if again else None
    )


def concluded(delivery: Delivery, *, again: bool) -> Delivery:
    """Say what stays of a delivery; `again` is whether the alert may have been delivered before this run.

    A new try that surely failed says nothing of the old one: such an alert is never `failed`, which a later
    run would send unasked.
    """
    if not again or delivery.status is not AlertStatus.FAILED:
        return delivery
    error = f"Not delivered this time ({delivery.error}), but an earlier try may have been"
    return replace(delivery, status=AlertStatus.UNCONFIRMED, error=error)


def takes_answer(outcome: Outcome, run_id: str, status: AlertStatus) -> bool:
    """Say whether an answer that the run got still counts, given what is on record of the alert by now.

    It may come after the run was taken for dead, and even after a person has settled the alert. A person
    who found nothing looked too early when Slack has taken it after all: it must not be sent again.
    """
    if outcome.run_id != run_id:
        return False
    if outcome.status in {OutcomeStatus.SENDING, OutcomeStatus.UNCONFIRMED}:
        return True
    return status is AlertStatus.SENT and outcome.reason == DECIDED[Decision.SEND_AGAIN]


def would_be(delivery: Delivery) -> Delivery:
    """Turn what a run would do into what a dry run says of it."""
    if delivery.status is not AlertStatus.PENDING:
        return delivery
    return replace(delivery, status=AlertStatus.WOULD_SEND)


def count(scan: Scan, alerts: Iterable[tuple[AlertStatus, str | None, int]]) -> Counts:
    """Add up a run from its alerts, given as (status, reason, how many)."""
    statuses = dict.fromkeys(AlertStatus, 0)
    unknown_region = 0
    for status, reason, number in alerts:
        statuses[status] += number
        if status is AlertStatus.FAILED and reason == UNKNOWN_REGION:
            unknown_region += number
    return Counts(
        rows_scanned=scan.rows_scanned,
        duplicates_found=scan.duplicates_found,
        at_risk=scan.at_risk,
        below_threshold=scan.below_threshold,
        alerts_sent=statuses[AlertStatus.SENT],
        skipped_replay=statuses[AlertStatus.SKIPPED_REPLAY],
        failed_deliveries=statuses[AlertStatus.FAILED] + statuses[AlertStatus.UNCONFIRMED],
        would_send=statuses[AlertStatus.WOULD_SEND],
        unknown_region=unknown_region,
        unconfirmed=statuses[AlertStatus.UNCONFIRMED],
    )
