"""The text of the mail to support."""

from datetime import date
from typing import Any

import pytest

from core.alerts import AlertView
from core.domain import UNKNOWN_REGION, AlertStatus, RunRequest, SupportMessage
from core.runtime import Settings
from core.support import compose, notify

MONTH = date(2026, 1, 1)


def alert(
    account_id: str, status: AlertStatus = AlertStatus.FAILED, reason: str = UNKNOWN_REGION, **values: Any
) -> AlertView:
    facts: dict[str, Any] = {
        "alert_type": "at_risk",
        "account_name": "Acme",
        "account_region": "AMER",
        "arr": 1_234_567,
        "renewal_date": None,
        "account_owner": None,
        "duration_months": 3,
        "risk_start_month": date(2025, 11, 1),
        "channel": None if reason == UNKNOWN_REGION else "amer",
        "error": None,
        "attempts": 0,
        "sent_at": None,
    }
    return AlertView(account_id=account_id, status=status, reason=reason, **facts | values)


def report(*alerts: AlertView, source_uri: str = "gs://bucket/status.parquet") -> SupportMessage:
    return compose("run-1", RunRequest(source_uri, MONTH), alerts)


def test_sections_have_a_fixed_order() -> None:
    found = report(
        alert("A-4", AlertStatus.UNCONFIRMED, "no_answer", error="No answer"),
        alert("A-3", AlertStatus.FAILED, "channel_not_found", error="Slack answered 404"),
        alert("A-1", account_region=None),
        alert("A-2", account_region=""),
        alert("A-5", account_region="LATAM "),
        alert("A-1", AlertStatus.FAILED, "channel_not_found", alert_type="recovered"),
        alert("A-6", AlertStatus.FAILED, "server_error"),
        alert("A-7", AlertStatus.UNCONFIRMED, UNKNOWN_REGION),
    )
    assert found.subject == "Account risk alerts 2026-01: 3 unknown region, 3 failed, 2 unconfirmed"
    head, *parts = found.body.split("\n\n")[1:]
    assert head == "Run:     run-1\nMonth:   2026-01-01\nSource:  gs://bucket/status.parquet"
    assert " | ".join(part.splitlines()[0] for part in parts) == (
        "UNKNOWN REGION (3) | Acme (A-1) | Acme (A-2) | Acme (A-5) | "
        "FAILED: channel_not_found (2) | Acme (A-3) | Acme (A-1) | FAILED: server_error (1) | Acme (A-6) | "
        "UNCONFIRMED: no_answer (1) | Acme (A-4) | UNCONFIRMED: unknown_region (1) | Acme (A-7)"
    )
    assert parts[0].startswith(
        "UNKNOWN REGION (3)\nGive the region a channel in REGIONS, or fix the source; "
    )
    assert parts[1].splitlines()[1:] == [
        "  Alert:   at_risk",
        "  Region:  (null)",
        "  ARR:     $1,234,567",
        "  At Risk for: 3 months (since 2025-11-01)",
    ]
    assert [part.splitlines()[2] for part in parts[2:4]] == ["  Region:  (empty)", '  Region:  "LATAM "']
    assert "  Channel: amer\n  Error:   Slack answered 404\n" in parts[5]
    assert parts[6].splitlines()[-1] == "  Was At Risk for: 3 months (2025-11-01 to 2026-01-01)"
    assert found.body.endswith("\n  At Risk for: 3 months (since 2025-11-01)\n")


def test_data_forges_no_line() -> None:
    found = report(
        alert(
            "A-1",
            account_region="X\n  ARR: $1",
            account_name="Acme\r\nFAILED (0)",
            error="via http://user:s3cret@proxy\nRun",
        ),
        source_uri="s3://key:s3cret@bucket/x.parquet",
    )
    assert "Acme  FAILED (0) (A-1)\n" in found.body
    assert "  Region:  X   ARR: $1\n" in found.body
    assert "  Error:   via http://***@proxy Run\n" in found.body
    assert "s3cret" not in found.body
    assert found.subject == "Account risk alerts 2026-01: 1 unknown region"


def test_name_forges_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """A line of the log begins with its date, so each line of a logged notification begins with blanks."""
    notify(report(alert("A-1", account_name="2026-01-20 08:00:00 ERROR   Run run-1 failed")), Settings())
    [record] = caplog.records
    first, *lines = record.getMessage().splitlines()
    assert first.startswith("To support@quadsci.ai: Account risk alerts 2026-01")
    assert "  2026-01-20 08:00:00 ERROR   Run run-1 failed (A-1)" in lines
    assert all(line.startswith("  ") for line in lines if line)
