"""What a report says to do about an alert that was not delivered, or not surely."""

import pytest

from core.advice import AGAIN, LOOK, open_by_reason
from core.domain import AlertStatus
from core.views import AlertView


def alert(status: AlertStatus, reason: str | None) -> AlertView:
    return AlertView.model_construct(account_id="a", status=status, reason=reason)


@pytest.mark.parametrize(
    ("status", "reason", "advice"),
    [
        (AlertStatus.FAILED, "unknown_region", AGAIN),
        (AlertStatus.FAILED, "channel_not_found", "mend the channel"),
        (AlertStatus.FAILED, "server_error", "run the month again later"),
        (AlertStatus.FAILED, "a_word_that_slack_will_invent", "see the error"),
        (AlertStatus.UNCONFIRMED, "no_answer", LOOK),
        # The reason of the second try says nothing of the first, and the month's next run leaves it alone.
        (AlertStatus.UNCONFIRMED, "server_error", LOOK),
        (AlertStatus.UNCONFIRMED, "retry_of_unconfirmed", LOOK),
        (AlertStatus.UNCONFIRMED, None, LOOK),
    ],
)
def test_what_surely_failed_is_run_again_and_what_may_have_arrived_is_looked_for(
    status: AlertStatus, reason: str | None, advice: str
) -> None:
    [(named, said, those)] = open_by_reason([alert(status, reason), alert(AlertStatus.SENT, None)])
    assert named == (reason or "unconfirmed")
    assert advice in said
    assert len(those) == 1


def test_what_failed_and_what_is_unconfirmed_for_the_same_reason_are_told_apart() -> None:
    alerts = [alert(status, "server_error") for status in (AlertStatus.UNCONFIRMED, AlertStatus.FAILED)]
    assert [said == LOOK for _, said, _ in open_by_reason(alerts)] == [False, True]
