"""`risk-alerts preview`: what a run would do, as a table or as the API gives it; nothing is sent."""

import json
from functools import partial
from pathlib import Path

import pytest

from core.alerts import PreviewView
from examples.mock_slack import MockSlack
from tests.cli.conftest import Run
from tests.service import COUNTS, MONTH, variables


@pytest.fixture
def preview(run: Run, source: str, slack: MockSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command, with all that it needs in the environment."""
    for name, value in variables(slack.url, tmp_path, COLUMNS="200", MAX_ALERTS_PER_RUN="1").items():
        monkeypatch.setenv(name, value)
    return partial(run, "preview", "--source-uri", source, "--month", MONTH)


def test_preview_shows_each_alert_and_sends_nothing(preview: Run, slack: MockSlack) -> None:
    out, err = preview()
    assert err == ""
    lines = out.splitlines()
    assert "Preview of 2026-01: nothing was sent" in lines
    assert [line.rstrip() for line in lines if "  " in line] == [
        "account                   ARR  streak    channel           status",
        "Acme & <Co> (A/1)  $1,234,567  3 months  amer-risk-alerts  would send",
        "Bolt (B)              Unknown  1 month   emea-risk-alerts  would send",
        "Cargo (C)             $50,000  1 month   none for LATAM    unknown_region",
    ]
    (limit,) = (line for line in lines if line.startswith("too_many_alerts: "))
    assert "MAX_ALERTS_PER_RUN is 1; check the source" in limit
    assert lines[-1].endswith(", 1 failed or unconfirmed (1 of an unknown region), 2 would be sent.")
    assert slack.messages == []


def test_preview_counts_each_alert_type(preview: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_TYPES", '["at_risk", "recovered"]')
    at_risk, recovered = preview().out.splitlines()[-2:]
    assert at_risk.startswith("at_risk: ")
    assert at_risk.endswith(", 2 would be sent.")
    assert recovered.startswith("recovered: ")


def test_preview_of_too_many_alerts_is_short(preview: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cli.report.SHOWN", 1)
    assert "\n… and 2 more: --json has them all\n" in preview().out


def test_json_is_the_answer_of_the_api(preview: Run) -> None:
    found = json.loads(preview("--json").out)
    assert found.keys() == PreviewView.model_fields.keys()
    assert found["counts"] == COUNTS | {"alerts_sent": 0, "would_send": 2}
    assert {alert["status"] for alert in found["alerts"]} == {"would_send", "failed"}


def test_preview_creates_no_ledger(preview: Run, tmp_path: Path) -> None:
    """Otherwise the next run does not say that its ledger is new, for example after a wrong DATABASE_URL."""
    preview()
    assert not (tmp_path / "ledger.db").exists()


def test_preview_names_a_ledger_that_it_cannot_look_for(
    preview: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:////{'x' * 300}/ledger.db")
    assert "cannot be used: File name too long" in preview(code=1).err
