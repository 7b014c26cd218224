"""The rules of replay: what a run may do with an alert that is on record, and what an answer changes."""

from dataclasses import replace

from core.domain.alerts import AlertStatus, Delivery, Outcome, OutcomeStatus, RoutedAlert
from core.domain.reasons import RETRY_OF_UNCONFIRMED
from core.domain.resolution import RESOLVED, Decision

__all__ = ["accepts_answer", "as_dry_run", "claimed", "merge_result", "plan_delivery"]


def plan_delivery(routed: RoutedAlert, outcome: Outcome | None, *, retry_unconfirmed: bool) -> Delivery:
    """Return what a run is to do with an alert, given what is on record of it.

    `PENDING` means that the run may claim and send it; any other status is the run's result for it.
    """
    key, channel = routed.alert.key, routed.channel
    if outcome is not None:
        skipped = AlertStatus.SKIPPED_REPLAY
        if outcome.status is OutcomeStatus.SENT:
            return Delivery(key, skipped, outcome.channel, reason="already_sent", sent_at=outcome.sent_at)
        if outcome.status is OutcomeStatus.SENDING:
            return Delivery(key, skipped, outcome.channel, reason="being_sent_by_another_run")
        # Without a channel it can't be sent again, and what may have been delivered stays unconfirmed.
        if outcome.status is OutcomeStatus.UNCONFIRMED and not (retry_unconfirmed and channel):
            return Delivery(
                key,
                AlertStatus.UNCONFIRMED,
                outcome.channel,
                reason=outcome.reason,
                error=outcome.error,
                attempts=outcome.attempts,
            )
    if channel is None:
        return Delivery(key, AlertStatus.FAILED, reason=routed.reason)
    return Delivery(key, AlertStatus.PENDING, channel)


def as_dry_run(delivery: Delivery) -> Delivery:
    """Return what a dry run says of a planned delivery."""
    if delivery.status is not AlertStatus.PENDING:
        return delivery
    return replace(delivery, status=AlertStatus.WOULD_SEND)


def claimed(routed: RoutedAlert, outcome: Outcome | None) -> Delivery:
    """Return the claim of an alert; its reason says when an earlier try may have been delivered."""
    again = outcome is not None and outcome.status is OutcomeStatus.UNCONFIRMED
    return Delivery(
        routed.alert.key,
        AlertStatus.SENDING,
        routed.channel,
        reason=RETRY_OF_UNCONFIRMED if again else None,
    )


def merge_result(delivery: Delivery, *, unconfirmed_before: bool) -> Delivery:
    """Return what to record of a delivery, given whether an earlier try may have been delivered.

    A new try that was not delivered says nothing about the earlier one: such an alert stays unconfirmed,
    since a later run would send a failed one without being asked.
    """
    if not unconfirmed_before or delivery.status is not AlertStatus.FAILED:
        return delivery
    error = f"Not delivered this time ({delivery.error}), but an earlier try may have been"
    return replace(delivery, status=AlertStatus.UNCONFIRMED, error=error)


def accepts_answer(outcome: Outcome, run_id: str, status: AlertStatus) -> bool:
    """Return whether an answer that the run got still counts, given what is on record of the alert now.

    The answer may come after the run was closed as dead, and even after a person has resolved the alert. A
    person who did not find the message looked too early when Slack has accepted it after all: it must not
    be sent again.
    """
    if outcome.run_id != run_id:
        return False
    if outcome.status in {OutcomeStatus.SENDING, OutcomeStatus.UNCONFIRMED}:
        return True
    return status is AlertStatus.SENT and outcome.reason == RESOLVED[Decision.SEND_AGAIN]
