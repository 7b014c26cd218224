"""`GET /metrics`: the metrics of the ledger and of this process."""

from pathlib import Path

from examples.mock_slack import MockSlack
from tests.conftest import Serve
from tests.service import Samples, Service


def growth(before: Samples, after: Samples) -> Samples:
    """Return what has changed; all tests share the instruments of the process."""
    return {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


def test_run_counts_in_every_metric(serve: Serve, source: str, slack: MockSlack) -> None:
    service = serve(SLACK_MAX_ATTEMPTS="2")
    before = service.scrape()
    slack.fail("amer-risk-alerts", 503, times=1)
    service.run(source)
    grown = growth(before, service.scrape())
    text = service.client.get("/metrics").text
    assert [
        word for word in ("A/1", "Acme", "LATAM", "AMER", "amer-risk-alerts", source) if word in text
    ] == []
    assert grown["runs", "succeeded"] == 1
    assert (grown["outcomes", "at_risk sent"], grown["outcomes", "at_risk failed"]) == (2, 1)
    assert grown["rows_scanned_total", ""] == 8
    assert (grown["deliveries_total", "delivered"], grown["deliveries_total", "server_error"]) == (2, 1)
    steps = {step for name, step in grown if name == "step_duration_seconds_count"}
    assert steps == {"load_window", "dedupe", "compute_streaks", "route", "send", "persist", "notify_support"}
    assert grown["step_duration_seconds_sum", "send"] > 0


def test_preview_counts_the_rows_that_it_decodes(service: Service, source: str) -> None:
    before = service.scrape()
    assert service.post("/preview", source).status_code == 200
    assert growth(before, service.scrape())["rows_scanned_total", ""] == 8


def test_failed_run_counts(serve: Serve, tmp_path: Path) -> None:
    service = serve()
    before = service.scrape()
    assert service.post("/runs", (tmp_path / "no.parquet").as_uri()).status_code == 404
    grown = growth(before, service.scrape())
    assert grown["runs", "failed"] == 1
    assert grown["step_duration_seconds_count", "load_window"] == 1
    assert ("step_duration_seconds_count", "dedupe") not in grown
