"""What a person is told to do about what was not delivered, or not surely."""

from datetime import date
from typing import Any

import pytest

from core.advice import advice, open_by_reason
from core.domain import AlertStatus
from core.views import AlertView


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
        ("invalid_blocks", "see the error"),
        (None, "see the error"),
    ],
)
def test_what_was_surely_not_posted_is_sent_by_the_next_run_when_its_cause_is_mended(
    reason: str | None, words: str
) -> None:
    assert words in advice(reason)
    assert "run the month again" in advice(reason)


@pytest.mark.parametrize("reason", ["no_answer", "process_died"])
def test_what_may_have_been_posted_is_looked_for_before_it_is_settled(reason: str) -> None:
    assert advice(reason) == "it may have been posted: look in the channel for it, then settle it"


def test_what_needs_a_person_is_put_together_by_reason_in_order() -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("account_region", "arr", "renewal_date", "account_owner", "channel", "error", "sent_at")
    )
    alerts = [
        AlertView(
            account_id=f"A-{number}",
            account_name="",
            duration_months=1,
            risk_start_month=date(2026, 1, 1),
            status=status,
            reason=reason,
            attempts=1,
            **nothing,
        )
        for number, (status, reason) in enumerate(
            [
                (AlertStatus.FAILED, "server_error"),
                (AlertStatus.SENT, "retry_of_unconfirmed"),
                (AlertStatus.UNCONFIRMED, "no_answer"),
                (AlertStatus.SKIPPED_REPLAY, "already_sent"),
                (AlertStatus.FAILED, None),
                (AlertStatus.FAILED, "server_error"),
                (AlertStatus.WOULD_SEND, None),
            ]
        )
    ]
    found = [
        (reason, said, [alert.account_id for alert in those])
        for reason, said, those in open_by_reason(alerts)
    ]
    assert found == [
        ("failed", advice(None), ["A-4"]),
        ("no_answer", advice("no_answer"), ["A-2"]),
        ("server_error", advice("server_error"), ["A-0", "A-5"]),
    ]
