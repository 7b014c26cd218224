"""What a report says to do about an alert that was not delivered, or not surely."""

import pytest

from core.advice import LOOK, open_by_reason
from core.domain import AlertStatus
from core.views import AlertView


def alert(status: AlertStatus, reason: str | None, account_id: str = "a") -> AlertView:
    return AlertView.model_construct(account_id=account_id, status=status, reason=reason)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("unknown_region", "REGIONS"),
        ("redirected", "not Slack's any more"),
        ("rate_limited", "busy"),
        ("server_error", "in trouble"),
        ("connection_failed", "network"),
        ("invalid_url", "mend the webhook's address"),
        ("interrupted", "stopped before its turn"),
        ("channel_not_found", "mend the channel or its webhook"),
        ("no_service", "mend the channel or its webhook"),
        ("a_word_that_slack_will_invent", "see the error"),
        (None, "see the error"),
    ],
)
def test_what_was_surely_not_posted_is_sent_by_the_next_run_when_its_cause_is_mended(
    reason: str | None, words: str
) -> None:
    [(named, said, _)] = open_by_reason([alert(AlertStatus.FAILED, reason)])
    assert named == (reason or "failed")
    assert words in said
    assert "run the month again" in said


@pytest.mark.parametrize(
    "reason", ["no_answer", "process_died", "server_error", "retry_of_unconfirmed", None]
)
def test_what_may_have_been_posted_is_looked_for_whatever_became_of_a_later_try(reason: str | None) -> None:
    """The reason of a second try says nothing of the first, and the month's next run leaves it alone."""
    assert [said for _, said, _ in open_by_reason([alert(AlertStatus.UNCONFIRMED, reason)])] == [LOOK]


def test_what_needs_a_person_is_put_together_by_reason_in_order_and_unconfirmed_apart() -> None:
    alerts = [
        alert(AlertStatus.UNCONFIRMED, "server_error", "A-0"),
        alert(AlertStatus.FAILED, "server_error", "A-1"),
        alert(AlertStatus.SENT, "retry_of_unconfirmed", "A-2"),
        alert(AlertStatus.UNCONFIRMED, "no_answer", "A-3"),
        alert(AlertStatus.SKIPPED_REPLAY, "already_sent", "A-4"),
        alert(AlertStatus.FAILED, None, "A-5"),
        alert(AlertStatus.FAILED, "server_error", "A-6"),
        alert(AlertStatus.WOULD_SEND, None, "A-7"),
    ]
    found = [
        (reason, said == LOOK, [one.account_id for one in those])
        for reason, said, those in open_by_reason(alerts)
    ]
    assert found == [
        ("failed", False, ["A-5"]),
        ("no_answer", True, ["A-3"]),
        ("server_error", False, ["A-1", "A-6"]),
        ("server_error", True, ["A-0"]),
    ]
