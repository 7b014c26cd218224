"""What a run may do with an alert, as a table: `foresee`, and what stays of a new try at an old one."""

import pytest

from core.domain import AlertStatus, Delivery, OutcomeStatus
from core.outcomes import RETRIED, Outcome, claimed, concluded, foresee, would_be
from tests.delivery.world import NOW, routed


def on_record(status: OutcomeStatus) -> Outcome:
    """Give an outcome of another run."""
    sent_at = NOW if status is OutcomeStatus.SENT else None
    return Outcome("A-1", status, "old-channel", "why", "because", 2, "other-run", sent_at)


SENT, SENDING, FAILED, UNCONFIRMED = (
    on_record(OutcomeStatus(word)) for word in ("sent", "sending", "failed", "unconfirmed")
)
PENDING = Delivery("A-1", AlertStatus.PENDING, "amer")
HOMELESS = Delivery("A-1", AlertStatus.FAILED, None, "unknown_region")
ALREADY = Delivery("A-1", AlertStatus.SKIPPED_REPLAY, "old-channel", "already_sent", sent_at=NOW)
ELSEWHERE = Delivery("A-1", AlertStatus.SKIPPED_REPLAY, "old-channel", "being_sent_by_another_run")
DOUBTFUL = Delivery("A-1", AlertStatus.UNCONFIRMED, "old-channel", "why", "because", 2)


@pytest.mark.parametrize(
    ("channel", "outcome", "retry_unconfirmed", "expected"),
    [
        ("amer", None, False, PENDING),
        ("amer", None, True, PENDING),
        ("amer", SENT, False, ALREADY),
        ("amer", SENT, True, ALREADY),
        ("amer", SENDING, False, ELSEWHERE),
        ("amer", SENDING, True, ELSEWHERE),
        ("amer", FAILED, False, PENDING),
        ("amer", FAILED, True, PENDING),
        ("amer", UNCONFIRMED, False, DOUBTFUL),
        ("amer", UNCONFIRMED, True, PENDING),
        (None, None, False, HOMELESS),
        (None, None, True, HOMELESS),
        (None, SENT, False, ALREADY),
        (None, SENT, True, ALREADY),
        (None, SENDING, False, ELSEWHERE),
        (None, SENDING, True, ELSEWHERE),
        (None, FAILED, False, HOMELESS),
        (None, FAILED, True, HOMELESS),
        (None, UNCONFIRMED, False, DOUBTFUL),
        # Not even when asked: as `failed` it would be sent unasked once its region has a channel.
        (None, UNCONFIRMED, True, DOUBTFUL),
    ],
)
def test_what_a_run_may_do_follows_from_what_is_on_record(
    channel: str | None,
    outcome: Outcome | None,
    retry_unconfirmed: bool,  # noqa: FBT001
    expected: Delivery,
) -> None:
    assert foresee(routed("A-1", channel), outcome, retry_unconfirmed=retry_unconfirmed) == expected


def test_a_dry_run_would_send_what_a_run_may_and_says_the_same_of_all_else() -> None:
    assert would_be(PENDING) == Delivery("A-1", AlertStatus.WOULD_SEND, "amer")
    for delivery in (HOMELESS, ALREADY, ELSEWHERE, DOUBTFUL):
        assert would_be(delivery) == delivery


def test_a_claim_keeps_in_mind_that_the_alert_may_have_been_delivered_before() -> None:
    assert claimed(routed("A-1"), UNCONFIRMED).reason == RETRIED
    assert claimed(routed("A-1"), FAILED).reason is None
    assert claimed(routed("A-1"), None) == Delivery("A-1", AlertStatus.SENDING, "amer")


@pytest.mark.parametrize("status", [AlertStatus.SENT, AlertStatus.FAILED, AlertStatus.UNCONFIRMED])
def test_only_a_failure_after_a_doubtful_try_is_not_what_it_says(status: AlertStatus) -> None:
    delivery = Delivery("A-1", status, "amer", "refused", "Slack answered 400")
    assert concluded(delivery, again=False) == delivery
    stays = concluded(delivery, again=True)
    if status is AlertStatus.FAILED:
        assert (stays.status, stays.reason) == (AlertStatus.UNCONFIRMED, "refused")
        assert stays.error == "Not delivered this time (Slack answered 400), but an earlier try may have been"
    else:
        assert stays == delivery
