"""The one mail to support: what it says of which alerts."""

import logging
from datetime import date

import pytest

from core.domain import (
    UNKNOWN_REGION,
    Alert,
    AlertStatus,
    Delivery,
    NotificationStatus,
    RoutedAlert,
    RunRequest,
    SupportMessage,
)
from core.settings import Settings
from tasks.notify_support import compose, notify
from tests.support.servers import Mailbox, mail_server

MONTH = date(2026, 1, 1)
MESSAGE = SupportMessage(subject="Account risk alerts 2026-01: 1 failed", body="Zoë\n.\nlast line\n")


def alert(account_id: str, region: str | None = "AMER", name: str = "Acme") -> Alert:
    """Give an alert of an account."""
    return Alert(account_id, name, region, 1_234_567, None, None, 3, date(2025, 11, 1))


def report(
    *pairs: tuple[Alert, Delivery], source_uri: str = "gs://bucket/status.parquet", known: int = 0
) -> SupportMessage | None:
    """Compose the notification of a run with these alerts."""
    return compose(
        "run-1",
        RunRequest(source_uri, MONTH),
        [RoutedAlert(found, delivery.channel, delivery.reason) for found, delivery in pairs],
        {delivery.account_id: delivery for _, delivery in pairs},
        known=known,
    )


def unknown(account_id: str) -> Delivery:
    """Give the outcome of an alert without a channel."""
    return Delivery(account_id, AlertStatus.FAILED, None, UNKNOWN_REGION)


def test_it_lists_unknown_regions_then_other_failures_then_the_unconfirmed() -> None:
    found = report(
        (alert("A-4"), Delivery("A-4", AlertStatus.UNCONFIRMED, "amer", "no_answer", "No answer")),
        (
            alert("A-3"),
            Delivery("A-3", AlertStatus.FAILED, "amer", "channel_not_found", "Slack answered 404"),
        ),
        (alert("A-1", None), unknown("A-1")),
        (alert("A-2", ""), unknown("A-2")),
        (alert("A-5", "LATAM "), unknown("A-5")),
        (alert("A-6"), Delivery("A-6", AlertStatus.SENT, "amer")),
    )
    assert found is not None
    assert found.subject == "Account risk alerts 2026-01: 3 unknown region, 1 failed, 1 unconfirmed"
    assert found.body.startswith(
        "Account risk alerts that did not surely reach Slack.\n\n"
        "Run:     run-1\nMonth:   2026-01-01\nSource:  gs://bucket/status.parquet\n"
    )
    assert (
        "Acme (A-1)\n  Region:  null\n  ARR:     $1,234,567\n  At risk: 3 months (since 2025-11-01)\n"
    ) in found.body
    assert "Acme (A-2)\n  Region:  empty\n" in found.body
    assert 'Acme (A-5)\n  Region:  "LATAM "\n' in found.body
    assert "  Channel: amer\n  Reason:  channel_not_found\n  Error:   Slack answered 404\n" in found.body
    assert "--retry-unconfirmed" in found.body
    places = [found.body.index(f"({name})") for name in ("A-1", "A-2", "A-5", "A-3", "A-4")]
    assert places == sorted(places)
    assert "A-6" not in found.body


@pytest.mark.parametrize("status", [AlertStatus.SENT, AlertStatus.SKIPPED_REPLAY, AlertStatus.SENDING])
def test_a_run_in_which_all_is_well_notifies_no_one(status: AlertStatus) -> None:
    assert report() is None
    assert report((alert("A-1"), Delivery("A-1", status, "amer"))) is None


def test_thousands_of_failures_are_all_listed() -> None:
    found = report(*((alert(f"A-{n}", None), unknown(f"A-{n}")) for n in range(5000)))
    assert found is not None
    assert all(f"(A-{n})" in found.body for n in range(5000))


def test_data_forges_no_line_and_the_source_shows_no_credentials() -> None:
    found = report(
        (alert("A-1", "X\n  ARR: $1", name="Acme\r\nFAILED (0)"), unknown("A-1")),
        source_uri="s3://key:s3cret@bucket/x.parquet",
    )
    assert found is not None
    assert "Acme  FAILED (0) (A-1)\n" in found.body
    assert '  Region:  "X   ARR: $1"\n' in found.body
    assert "s3cret" not in found.body


def test_it_says_how_many_more_are_open_as_told_before() -> None:
    found = report((alert("A-1", None), unknown("A-1")), known=2)
    assert found is not None
    assert found.subject == "Account risk alerts 2026-01: 1 unknown region"
    assert (
        "\n\nNot listed here: 2 more, open as told before. GET /runs/run-1/alerts lists all.\n\n"
        in found.body
    )
    assert report(known=2) is None


def test_the_mail_arrives_whole() -> None:
    mailbox = Mailbox()
    with mail_server(mailbox) as settings:
        assert notify(MESSAGE, settings).status is NotificationStatus.SENT
    [found] = mailbox.mails
    assert mailbox.recipients == ["support@quadsci.ai"]
    assert found["Subject"] == MESSAGE.subject
    assert found["To"] == "support@quadsci.ai"
    assert found["Message-ID"]
    assert found.get_content().replace("\r\n", "\n") == MESSAGE.body


def test_without_a_mail_server_the_notification_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert notify(MESSAGE, Settings(smtp_host=None)).status is NotificationStatus.LOGGED
    assert MESSAGE.subject in caplog.text
    assert "last line" in caplog.text
