"""What a run may do with an alert, what stays of a new try at an old one, how a run adds up: as tables."""

from dataclasses import replace

import pytest

from core.domain import AlertStatus, Counts, Decision, Delivery, OutcomeStatus, Scan
from core.outcomes import (
    DECIDED,
    RETRIED,
    Outcome,
    Report,
    claimed,
    concluded,
    count,
    foresee,
    report_of,
    takes_answer,
    would_be,
)
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
    assert claimed(routed("A-1"), UNCONFIRMED).reason == RETRIED == "retry_of_unconfirmed"
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


def test_support_is_told_of_what_failed_or_may_have_been_delivered() -> None:
    alert = routed("A-1")
    assert report_of(alert, SENT) is None
    assert report_of(alert, SENDING) is None
    failed = Report("A-1", OutcomeStatus.FAILED, "why", "old-channel", region=None, tried_by=None)
    assert report_of(alert, FAILED) == failed
    # The region is part of it where that is what is wrong, the run where its try may have been delivered.
    homeless = replace(FAILED, reason="unknown_region", channel=None)
    expected = replace(failed, reason="unknown_region", channel=None, region="AMER")
    assert report_of(alert, homeless) == expected
    doubtful = replace(failed, status=OutcomeStatus.UNCONFIRMED, tried_by="other-run")
    assert report_of(alert, UNCONFIRMED) == doubtful


@pytest.mark.parametrize("answer", [AlertStatus.SENT, AlertStatus.FAILED, AlertStatus.UNCONFIRMED])
def test_an_answer_counts_while_its_claim_is_open_and_slacks_yes_also_after_a_person_said_no(
    answer: AlertStatus,
) -> None:
    not_there = replace(FAILED, reason=DECIDED[Decision.SEND_AGAIN])
    there = replace(SENT, reason=DECIDED[Decision.DELIVERED])
    for outcome, takes in (
        (SENDING, True),
        (UNCONFIRMED, True),
        (SENT, False),
        (FAILED, False),
        (there, False),
        (not_there, answer is AlertStatus.SENT),
    ):
        assert takes_answer(outcome, "other-run", answer) is takes, outcome
        assert not takes_answer(outcome, "run", answer)


def test_a_run_adds_up_from_its_alerts_by_status_and_reason() -> None:
    alerts = [
        (AlertStatus.SENT, None, 1),
        (AlertStatus.SENT, RETRIED, 2),
        (AlertStatus.SKIPPED_REPLAY, "already_sent", 4),
        (AlertStatus.FAILED, "server_error", 8),
        (AlertStatus.FAILED, "unknown_region", 5),
        (AlertStatus.FAILED, "unknown_region", 11),
        (AlertStatus.UNCONFIRMED, "no_answer", 32),
        (AlertStatus.UNCONFIRMED, "unknown_region", 64),
        (AlertStatus.WOULD_SEND, None, 128),
        (AlertStatus.PENDING, None, 256),
        (AlertStatus.SENDING, None, 512),
    ]
    assert count(Scan(1000, 2000, 3000, 4000), alerts) == Counts(
        rows_scanned=1000,
        duplicates_found=2000,
        at_risk=3000,
        below_threshold=4000,
        alerts_sent=3,
        skipped_replay=4,
        failed_deliveries=8 + 16 + 32 + 64,
        would_send=128,
        unknown_region=16,
        unconfirmed=32 + 64,
    )
