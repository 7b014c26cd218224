"""The rules of replay: what a run may do with a recorded alert, and how an answer changes the record.

An outcome is the delivery on record for an alert across runs, None for a new alert.
"""

from core.domain.alerts import RESOLVED, Alert, AlertStatus, Decision, Delivery
from core.domain.reasons import PROCESS_DIED, RETRY_OF_UNCONFIRMED, UNKNOWN_REGION


def plan_delivery(
    alert: Alert, outcome: Delivery | None, *, retry_unconfirmed: bool, dry_run: bool = False
) -> Delivery:
    """Return the planned delivery of an alert with this outcome.

    `PENDING` means that the run may claim and send the alert; any other status is already the result.
    """
    if outcome is not None:
        skipped = AlertStatus.SKIPPED_REPLAY
        if outcome.status is AlertStatus.SENT:
            return Delivery(*alert.key, skipped, outcome.channel, "already_sent", sent_at=outcome.sent_at)
        if outcome.status is AlertStatus.SENDING:
            return Delivery(*alert.key, skipped, outcome.channel, "being_sent_by_another_run")
        # Without a channel a retry is impossible, so the alert stays unconfirmed.
        if outcome.status is AlertStatus.UNCONFIRMED and not (retry_unconfirmed and alert.channel):
            return outcome
    if alert.channel is None:
        return Delivery(*alert.key, AlertStatus.FAILED, reason=UNKNOWN_REGION)
    return Delivery(*alert.key, AlertStatus.WOULD_SEND if dry_run else AlertStatus.PENDING, alert.channel)


def claimed(alert: Alert, outcome: Delivery | None) -> Delivery:
    """Return the claim of an alert; the reason marks the retry of an unconfirmed one."""
    again = outcome is not None and outcome.status is AlertStatus.UNCONFIRMED
    return Delivery(*alert.key, AlertStatus.SENDING, alert.channel, RETRY_OF_UNCONFIRMED if again else None)


def merge_result(claim: Delivery, answer: Delivery) -> Delivery:
    """Return the delivery to record for the answer to a claim.

    If the retry of an unconfirmed alert fails, the alert stays unconfirmed, because the earlier attempt may
    have been delivered: a later run would send a failed alert again although no person asked for that.
    The claim of such a retry has a reason: that of a retry or, if the write is repeated, that of this answer.
    The claim of a first attempt has none, or `process_died` if its run was closed as dead.
    """
    if claim.reason in {None, PROCESS_DIED} or answer.status is not AlertStatus.FAILED:
        return answer
    error = f"Not delivered this time ({answer.error}), but an earlier attempt may have been delivered"
    return answer._replace(status=AlertStatus.UNCONFIRMED, error=error)


def accepts_answer(outcome: Delivery, run_id: str, status: AlertStatus) -> bool:
    """Return whether the run's answer changes the alert's outcome.

    The answer may come after the run was closed as dead, and even after a person decided to send the alert
    again. If Slack has accepted it after all, it must not be sent again.
    """
    if outcome.run_id != run_id:
        return False
    if outcome.status in {AlertStatus.SENDING, AlertStatus.UNCONFIRMED}:
        return True
    return status is AlertStatus.SENT and outcome.reason == RESOLVED[Decision.SEND_AGAIN]
