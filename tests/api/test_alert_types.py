"""The alert types over HTTP and in the batch job: every place that shows an alert shows its type."""

import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from examples.mock_slack import MockSlack
from flows.command_line import main
from tests.alerts.of_the_tests import OURS, register
from tests.conftest import Serve
from tests.service import MONTH, row, write_source

TYPES = ["at_risk", "recovered", OURS.type]
ROWS = [
    row("A", "2025-12-01"),
    row("A"),
    row("B", "2025-12-01"),
    row("B", status="Healthy", account_region="LATAM"),
]
"""A is at risk, B has recovered and has no channel, and the tests' own type finds both."""
FOUND = [("A", "at_risk"), ("A", OURS.type), ("B", OURS.type), ("B", "recovered")]


@pytest.fixture(autouse=True)
def _register(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)


def test_every_answer_says_the_type(serve: Serve, slack: MockSlack, tmp_path: Path) -> None:
    service = serve(ALERT_TYPES=json.dumps(TYPES))
    source = write_source(tmp_path / "status.parquet", ROWS)
    expected = service.post("/preview", source).json()
    dry = service.run(source, dry_run=True)
    done = service.run(source)
    for found in (expected, dry, done):
        assert [found["counts"][name] for name in TYPES] == [1, 1, 2]
        by_type = found["counts_by_type"]
        assert {name: by_type[name][name] for name in by_type} == {"at_risk": 1, "recovered": 1, OURS.type: 2}
        assert [by_type[name]["unknown_region"] for name in TYPES] == [0, 1, 1]
    alerts = service.get(f"/runs/{done['run_id']}/alerts")["alerts"]
    for listed in (expected["alerts"], alerts, service.get("/outcomes")["outcomes"]):
        assert [(one["account_id"], one["alert_type"]) for one in listed] == FOUND
    of_one = service.get("/outcomes", alert_type=OURS.type)["outcomes"]
    assert [(one["account_id"], one["status"]) for one in of_one] == [("A", "sent"), ("B", "failed")]
    assert [one["message"]["text"].splitlines()[0] for one in slack.messages] == [
        "🚩 At Risk: Name of A (A)",
        "Of the tests: Name of A (A)",
    ]

    body = done["support_message"]["body"]
    assert body.count("Name of B (B)") == 2
    assert f"  Alert:   {OURS.type}\n" in body
    assert "  Alert:   recovered\n" in body

    page = service.client.get(f"/runs/{done['run_id']}", headers={"Accept": "text/html"}).text
    for card in ("<b>1</b> at risk", "<b>1</b> recovered", "<b>2</b> of the tests"):
        assert card in page
    assert 'class="id">A</span>' in page
    assert 'class="id">A, of the tests</span>' in page
    assert 'class="id">B, recovered</span>' in page

    families = text_string_to_metric_families(service.client.get("/metrics").text)
    outcomes = {
        (sample.labels["alert_type"], sample.labels["status"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "risk_alerts_outcomes" and sample.value
    }
    assert outcomes == {
        ("at_risk", "sent"): 1,
        (OURS.type, "sent"): 1,
        (OURS.type, "failed"): 1,
        ("recovered", "failed"): 1,
    }


def test_batch_report_says_the_types(
    slack: MockSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_source(tmp_path / "status.parquet", ROWS)
    for name, value in {
        "ALERT_TYPES": json.dumps(TYPES),
        "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
        "SLACK_WEBHOOK_BASE_URL": slack.url,
        "SLACK_CHANNEL_RATE": "0",
        "REGIONS": '{"AMER": "amer"}',
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["--source-uri", source, "--month", MONTH]) == 0
    report = " ".join(capsys.readouterr().out.split())
    assert "1 at risk, 1 recovered, 2 of the tests, 0 below the ARR threshold." in report
    assert "Name of B (B), recovered" in report
    assert f"Name of B (B), {OURS.type}" in report
