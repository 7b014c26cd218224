"""The alert types over HTTP and in a run's report: every place that shows an alert shows its type."""

import io
import json
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from cli.report import print_report
from core.domain import RunRequest
from core.ledger import open_ledger
from core.run import prepare_run
from examples.mock_slack import MockSlack
from flows.start import run_month
from tests.alerts.of_the_tests import OURS, register
from tests.conftest import Serve
from tests.delivery.world import MONTH, settings
from tests.service import row, write_source

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


def test_every_answer_has_the_alert_type(serve: Serve, slack: MockSlack, tmp_path: Path) -> None:
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
    for words in (
        "At Risk for: 2 months (since 2025-12-01)",
        "Was At Risk for: 1 month (2025-12-01 to 2025-12-01)",
    ):
        assert f"<td>{words}</td>" in page

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


def test_report_shows_the_alert_types(slack: MockSlack, tmp_path: Path) -> None:
    source = write_source(tmp_path / "status.parquet", ROWS)
    chosen = settings(slack.url, tmp_path / "ledger.db", alert_types=TYPES, regions={"AMER": "amer"})
    run = prepare_run(RunRequest(source, MONTH), chosen, open_ledger(chosen.database_url))
    run_month(run)
    out = io.StringIO()
    history = run.ledger.history
    print_report(history.run(run.run_id), history, Console(file=out, emoji=False, width=200))
    assert "1 at risk, 1 recovered, 2 of the tests, 0 below the ARR threshold, " in out.getvalue()
    assert "Name of B (B), recovered" in out.getvalue()
    assert f"Name of B (B), {OURS.type}" in out.getvalue()
