"""`POST /preview`: what a run would do, with nothing sent or stored."""

from pathlib import Path
from typing import Any

from examples.mock_slack import MockSlack
from tests.conftest import Serve
from tests.delivery.world import query
from tests.service import ACME_ALERT, BOLT_TEXT, COUNTS, MONTH, Service
from tests.slack.hostile import HostileSlack, reset


def preview(service: Service, source: str, **body: Any) -> dict[str, Any]:
    """Return the preview of the month, which must succeed."""
    answer = service.post("/preview", source, **body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = answer.json()
    return found


def test_preview_shows_the_messages_of_the_run(
    service: Service, source: str, slack: MockSlack, path: Path
) -> None:
    found = preview(service, source)
    assert set(found) == {"month", "counts", "counts_by_type", "warnings", "alerts"}
    assert found["month"] == MONTH
    assert found["counts"] == COUNTS | {"alerts_sent": 0, "would_send": 2}
    acme, *others = found["alerts"]
    url = "https://app.yourcompany.com/accounts/A%2F1"
    result = {"details_url": url, "status": "would_send", "reason": None, "message": acme["message"]}
    assert acme == ACME_ALERT | result
    shown = [(alert["account_id"], alert["channel"], alert["status"], alert["reason"]) for alert in others]
    assert shown == [("B", "emea-risk-alerts", "would_send", None), ("C", None, "failed", "unknown_region")]

    assert slack.messages == []
    assert service.runs() == []
    for table in ("runs", "alert_outcomes", "run_alerts"):
        assert query(path, f"SELECT count(*) FROM {table}") == [(0,)]  # noqa: S608

    service.run(source)
    would = {alert["channel"]: alert["message"] for alert in found["alerts"] if alert["channel"]}
    assert {item["channel"]: item["message"] for item in slack.messages} == would
    again = preview(service, source)
    assert [alert["status"] for alert in again["alerts"]] == ["skipped_replay", "skipped_replay", "failed"]


def test_unconfirmed_alert_is_shown_as_failed(serve: Serve, source: str) -> None:
    with HostileSlack() as broken:
        broken.script("/amer-risk-alerts", reset)
        serve(SLACK_WEBHOOK_BASE_URL=broken.url).run(source)
    service = serve(REGIONS='{"AMER": "new"}')
    # Without a retry, the channel is the one that may have the alert.
    for again, shown in (
        (False, ("failed", "unconfirmed", "amer-risk-alerts")),
        (True, ("would_send", None, "new")),
    ):
        alert = preview(service, source, retry_unconfirmed=again)["alerts"][0]
        assert (alert["account_id"], alert["status"], alert["reason"], alert["channel"]) == ("A/1", *shown)
    assert service.run(source, retry_unconfirmed=True)["counts"]["unconfirmed"] == 0


def test_preview_needs_no_slack(serve: Serve, source: str) -> None:
    for webhook, last_line in (("", BOLT_TEXT.splitlines()[-1]), ("http://127.0.0.1:9/x", "emea-risk")):
        service = serve(SLACK_WEBHOOK_BASE_URL="", SLACK_WEBHOOK_URL=webhook)
        text = preview(service, source, dry_run=True)["alerts"][1]["message"]["text"]
        assert last_line in text.splitlines()[-1]
