"""`POST /runs`: what Slack gets, what is stored, and runs side by side."""

import threading
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import httpx
import pytest

from examples.mock_slack import MockSlack
from tests.conftest import Serve
from tests.delivery.world import query
from tests.service import ACME_ALERT, ACME_TEXT, BOLT_TEXT, COUNTS, MONTH, Service
from tests.slack.hostile import HostileSlack, answer, held
from tests.waiting import until


def outcomes(path: Path) -> list[tuple[Any, ...]]:
    """Return the stored outcomes in order of account."""
    columns = "account_id, month, alert_type, region, channel, status, reason, attempts, run_id"
    return query(path, f"SELECT {columns}, sent_at IS NOT NULL FROM alert_outcomes ORDER BY account_id")  # noqa: S608


def test_each_alert_goes_to_its_regions_channel(service: Service, source: str, slack: MockSlack) -> None:
    service.run(source)
    posted = sorted((item["channel"], item["message"]["text"]) for item in slack.messages)
    assert posted == [("amer-risk-alerts", ACME_TEXT), ("emea-risk-alerts", BOLT_TEXT)]


def test_run_has_every_field_of_the_contract(service: Service, source: str, path: Path) -> None:
    run = service.run(source)
    assert run == {
        "run_id": ANY,
        "source_uri": source,
        "source_version": ANY,
        "month": MONTH,
        "dry_run": False,
        "retry_unconfirmed": False,
        "status": "succeeded",
        "started_at": ANY,
        "finished_at": ANY,
        "counts": COUNTS,
        "counts_by_type": {"at_risk": COUNTS},
        "warnings": [],
        "error": None,
        "support_notification": "logged",
        "support_message": ANY,
        "support_error": None,
        "sample_alerts": ANY,
        "sample_errors": [
            {"account_id": "C", "channel": None, "reason": "unknown_region", "error": None},
        ],
        "flow_run_id": None,
    }
    assert str(path.with_name("status.parquet").stat().st_size) in run["source_version"]
    assert run["started_at"] <= run["finished_at"]
    acme, bolt, cargo = run["sample_alerts"]
    result = {"status": "sent", "reason": None, "error": None, "attempts": 1, "sent_at": ANY}
    assert acme == ACME_ALERT | result
    assert bolt["account_id"] == "B"
    assert acme["sent_at"]
    assert (cargo["status"], cargo["reason"], cargo["sent_at"]) == ("failed", "unknown_region", None)
    run_id, key = run["run_id"], (MONTH, "at_risk")
    assert outcomes(path) == [
        ("A/1", *key, "AMER", "amer-risk-alerts", "sent", None, 1, run_id, 1),
        ("B", *key, "EMEA", "emea-risk-alerts", "sent", None, 1, run_id, 1),
        ("C", *key, "LATAM", None, "failed", "unknown_region", 0, run_id, 0),
    ]


def test_replay_sends_nothing_twice(service: Service, source: str, slack: MockSlack) -> None:
    first = service.run(source)
    old = service.get(f"/runs/{first['run_id']}/alerts")
    replay = service.run(source)
    assert len(slack.messages) == 2
    assert replay["counts"] == COUNTS | {"alerts_sent": 0, "skipped_replay": 2}
    statuses = [alert["status"] for alert in replay["sample_alerts"]]
    assert statuses == ["skipped_replay", "skipped_replay", "failed"]
    assert service.get(f"/runs/{first['run_id']}") == first
    assert service.get(f"/runs/{first['run_id']}/alerts") == old


def test_dry_run_sends_and_records_nothing(
    service: Service, source: str, slack: MockSlack, path: Path
) -> None:
    run = service.run(source, dry_run=True)
    assert run["dry_run"] is True
    assert run["counts"] == COUNTS | {"alerts_sent": 0, "would_send": 2}
    assert run["support_notification"] is None
    assert (slack.messages, outcomes(path)) == ([], [])
    assert service.run(source)["counts"] == COUNTS


def test_run_goes_on_when_its_client_leaves(serve: Serve, source: str) -> None:
    answered = threading.Event()
    with HostileSlack() as slow:
        slow.script("/amer-risk-alerts", held(answered.is_set, answer(200, "ok")))
        service = serve(SLACK_WEBHOOK_BASE_URL=slow.url, SLACK_TIMEOUT_SECONDS="60")
        body, patience = {"source_uri": source, "month": MONTH}, httpx.Timeout(60, read=1)
        with pytest.raises(httpx.ReadTimeout):
            service.client.post("/runs", json=body, timeout=patience)
        until(lambda: slow.received("/amer-risk-alerts"))
        assert service.get("/health")["status"] == "ok"
        assert [run["status"] for run in service.runs()] == ["running"]
        answered.set()
        until(lambda: service.runs()[0]["status"] != "running")
        assert len(slow.received("/amer-risk-alerts")) == 1
    run = service.runs()[0]
    assert (run["status"], run["counts"]) == ("succeeded", COUNTS)
