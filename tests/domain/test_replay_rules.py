"""The rules of replay as tables: what a run may do with an alert, and how an answer changes the record."""

import pytest

from core.domain import (
    PROCESS_DIED,
    RESOLVED,
    RETRY_OF_UNCONFIRMED,
    AlertStatus,
    Counts,
    Decision,
    Delivery,
    accepts_answer,
    claimed,
    count_alerts,
    count_found,
    merge_result,
    plan_delivery,
    total,
)
from tests.delivery.world import NOW, key, routed


def on_record(status: AlertStatus) -> Delivery:
    sent_at = NOW if status is AlertStatus.SENT else None
    return Delivery(*key("A-1"), status, "old-channel", "why", "because", 2, sent_at, "other-run")


SENT, SENDING, FAILED, UNCONFIRMED = (
    on_record(AlertStatus(word)) for word in ("sent", "sending", "failed", "unconfirmed")
)
PENDING = Delivery(*key("A-1"), AlertStatus.PENDING, "amer")
NO_CHANNEL = Delivery(*key("A-1"), AlertStatus.FAILED, None, "unknown_region")
ALREADY = Delivery(*key("A-1"), AlertStatus.SKIPPED_REPLAY, "old-channel", "already_sent", sent_at=NOW)
ELSEWHERE = Delivery(*key("A-1"), AlertStatus.SKIPPED_REPLAY, "old-channel", "being_sent_by_another_run")


@pytest.mark.parametrize(
    ("channel", "outcome", "expected"),
    [
        ("amer", None, PENDING),
        ("amer", SENT, ALREADY),
        ("amer", SENDING, ELSEWHERE),
        ("amer", FAILED, PENDING),
        ("amer", UNCONFIRMED, UNCONFIRMED),
        (None, None, NO_CHANNEL),
        (None, SENT, ALREADY),
        (None, SENDING, ELSEWHERE),
        (None, FAILED, NO_CHANNEL),
        (None, UNCONFIRMED, UNCONFIRMED),
    ],
)
def test_record_decides_what_a_run_may_do(
    channel: str | None, outcome: Delivery | None, expected: Delivery
) -> None:
    alert = routed("A-1", channel)
    assert plan_delivery(alert, outcome, retry_unconfirmed=False) == expected
    # Without a channel it stays unconfirmed: as `failed`, it would be sent without a request once its region
    # has a channel.
    asked = PENDING if channel and outcome is UNCONFIRMED else expected
    assert plan_delivery(alert, outcome, retry_unconfirmed=True) == asked
    dry = plan_delivery(alert, outcome, retry_unconfirmed=True, dry_run=True)
    assert dry == (PENDING._replace(status=AlertStatus.WOULD_SEND) if asked is PENDING else asked)


def test_claim_keeps_the_unconfirmed_attempt() -> None:
    assert claimed(routed("A-1"), UNCONFIRMED).reason == RETRY_OF_UNCONFIRMED == "retry_of_unconfirmed"
    assert claimed(routed("A-1"), FAILED).reason is None
    assert claimed(routed("A-1"), None) == Delivery(*key("A-1"), AlertStatus.SENDING, "amer")


@pytest.mark.parametrize("status", [AlertStatus.SENT, AlertStatus.FAILED, AlertStatus.UNCONFIRMED])
def test_failure_after_an_unconfirmed_attempt_stays_so(status: AlertStatus) -> None:
    delivery = Delivery(*key("A-1"), status, "amer", "refused", "Slack answered 400")
    assert merge_result(claimed(routed("A-1"), FAILED), delivery) == delivery
    died = claimed(routed("A-1"), FAILED)._replace(status=AlertStatus.UNCONFIRMED, reason=PROCESS_DIED)
    assert merge_result(died, delivery) == delivery
    stays = merge_result(claimed(routed("A-1"), UNCONFIRMED), delivery)
    if status is AlertStatus.FAILED:
        assert (stays.status, stays.reason) == (AlertStatus.UNCONFIRMED, "refused")
        assert (
            stays.error
            == "Not delivered this time (Slack answered 400), but an earlier attempt may have been delivered"
        )
        assert merge_result(stays, delivery) == stays, "recorded again"
    else:
        assert stays == delivery


@pytest.mark.parametrize("answer", [AlertStatus.SENT, AlertStatus.FAILED, AlertStatus.UNCONFIRMED])
def test_acceptance_counts_also_after_send_again(answer: AlertStatus) -> None:
    not_there = FAILED._replace(reason=RESOLVED[Decision.SEND_AGAIN])
    there = SENT._replace(reason=RESOLVED[Decision.DELIVERED])
    for outcome, takes in (
        (SENDING, True),
        (UNCONFIRMED, True),
        (SENT, False),
        (FAILED, False),
        (there, False),
        (not_there, answer is AlertStatus.SENT),
    ):
        assert accepts_answer(outcome, "other-run", answer) is takes, outcome
        assert accepts_answer(outcome, "run", answer) is False


def test_run_adds_up_by_type_status_and_reason() -> None:
    alerts = [
        ("at_risk", AlertStatus.SENT, None, 1),
        ("at_risk", AlertStatus.SENT, RETRY_OF_UNCONFIRMED, 2),
        ("recovered", AlertStatus.SENT, None, 3),
        ("at_risk", AlertStatus.SKIPPED_REPLAY, "already_sent", 4),
        ("at_risk", AlertStatus.FAILED, "server_error", 8),
        ("at_risk", AlertStatus.FAILED, "unknown_region", 16),
        ("at_risk", AlertStatus.UNCONFIRMED, "no_answer", 32),
        ("at_risk", AlertStatus.UNCONFIRMED, "unknown_region", 64),
        ("at_risk", AlertStatus.WOULD_SEND, None, 128),
        ("at_risk", AlertStatus.PENDING, None, 256),
        ("at_risk", AlertStatus.SENDING, None, 512),
    ]
    assert {status for _, status, *_ in alerts} == set(AlertStatus)
    found = count_alerts(count_found(1000, 2000, {"at_risk": (3000, 4000), "recovered": (7, 3)}), alerts)
    scan = {"rows_scanned": 1000, "duplicates_found": 2000}
    of_both = {
        "skipped_replay": 4,
        "failed_deliveries": 8 + 16 + 32 + 64,
        "would_send": 128,
        "unknown_region": 16,
        "unconfirmed": 32 + 64,
    }
    assert found == {
        "at_risk": Counts(**scan, **of_both, at_risk=3000, below_threshold=4000, alerts_sent=3),
        "recovered": Counts(**scan, recovered=7, below_threshold=3, alerts_sent=3),
    }
    both = Counts(**scan, **of_both, at_risk=3000, recovered=7, below_threshold=4003, alerts_sent=6)
    assert total(found.values()) == both
    assert total([]) == Counts()


def test_any_alert_type_is_counted() -> None:
    found = count_found(0, 0, {"at_risk": (0, 0), "late": (1, 0)})
    assert found["at_risk"] == Counts.model_validate({"late": 0})
    assert total(found.values()) == Counts.model_validate({"late": 1})
