"""The alert types over HTTP: every place that shows an alert shows its type."""

import json
from pathlib import Path

import pytest

from examples.mock_slack import MockSlack
from tests.alerts.of_the_tests import OURS, register
from tests.conftest import Serve
from tests.service import row, write_source

TYPES = ["at_risk", "recovered", OURS.type]
ROWS = [
    *(row("A", "2025-12-01"), row("A")),
    *(row("B", "2025-12-01"), row("B", status="Healthy", account_region="LATAM")),
    *(row("C", "2025-12-01"), row("C", status="Healthy", arr=1)),
]
"""A is at risk; B, which has no channel, and C, below the threshold, have recovered. Ours finds all three."""
FOUND = [("A", "at_risk"), ("A", OURS.type), ("B", OURS.type), ("B", "recovered")]


def test_every_place_shows_the_alert_type(
    serve: Serve, slack: MockSlack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(monkeypatch)
    source = write_source(tmp_path / "status.parquet", ROWS)
    service = serve(ALERT_TYPES=json.dumps(TYPES))
    expected = service.post("/preview", source).json()
    done = service.run(source)
    for found, delivered in ((expected, "would_send"), (done, "alerts_sent")):
        by_type = found["counts_by_type"]
        assert {
            name: [of[kind] for kind in (*TYPES, "below_threshold", "unknown_region", delivered)]
            for name, of in by_type.items()
        } == {
            "at_risk": [1, 0, 0, 0, 0, 1],
            "recovered": [0, 2, 0, 1, 1, 0],
            OURS.type: [0, 0, 3, 1, 1, 1],
        }
        for name in set(found["counts"]) - {"rows_scanned", "duplicates_found"}:
            assert found["counts"][name] == sum(counts[name] for counts in by_type.values()), name
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

    metrics = service.scrape()
    assert {key: value for key, value in metrics.items() if key[0] == "outcomes" and value} == {
        ("outcomes", "at_risk sent"): 1,
        ("outcomes", f"{OURS.type} sent"): 1,
        ("outcomes", f"{OURS.type} failed"): 1,
        ("outcomes", "recovered failed"): 1,
    }

    page = service.client.get(f"/runs/{done['run_id']}", headers={"Accept": "text/html"}).text
    for shown in (
        "<b>1</b> at risk",
        "<b>2</b> recovered",
        "<b>3</b> of the tests",
        "Counts by alert type",
        'class="id">A</span>',
        'class="id">A, of the tests</span>',
        'class="id">B, recovered</span>',
        "<td>At Risk for: 2 months (since 2025-12-01)</td>",
        "<td>Was At Risk for: 1 month (2025-12-01 to 2025-12-01)</td>",
    ):
        assert shown in page
    assert ">Recovered</th>" in service.client.get("/runs", headers={"Accept": "text/html"}).text
