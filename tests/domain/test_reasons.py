"""The advice about an open alert, and the label of an answer in the metric."""

import pytest

from core.alerts import AlertView, open_by_reason
from core.domain import METRIC_LABELS, AlertStatus, advice


def alert(status: AlertStatus, reason: str | None, account_id: str = "a") -> AlertView:
    return AlertView.model_construct(account_id=account_id, status=status, reason=reason)


@pytest.mark.parametrize("reason", ["a_new_word_of_slack", None])
def test_unknown_reason_refers_to_the_error(reason: str | None) -> None:
    """`tests/test_docs.py` has the advice of each known one."""
    assert advice(reason, AlertStatus.FAILED).startswith("see the error")


def test_open_alerts_are_grouped_by_reason() -> None:
    alerts = [
        alert(AlertStatus.UNCONFIRMED, "server_error", "A-0"),
        alert(AlertStatus.FAILED, "server_error", "A-1"),
        alert(AlertStatus.UNCONFIRMED, "no_answer", "A-3"),
        alert(AlertStatus.FAILED, None, "A-5"),
        alert(AlertStatus.FAILED, "server_error", "A-6"),
    ]
    found = [
        (one.reason, "look in the channel" in one.advice, [alert.account_id for alert in one.alerts])
        for one in open_by_reason(alerts)
    ]
    assert found == [
        ("failed", False, ["A-5"]),
        ("no_answer", True, ["A-3"]),
        ("server_error", False, ["A-1", "A-6"]),
        ("server_error", True, ["A-0"]),
    ]


def test_metric_has_a_label_of_each_answer() -> None:
    assert sorted(METRIC_LABELS) == [
        *("channel_refused", "connection_failed", "delivered", "rate_limited", "refused", "server_error"),
        "unconfirmed",
    ]
