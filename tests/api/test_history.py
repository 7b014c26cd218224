"""`GET /runs`, `GET /runs/{run_id}` and its alerts: filters, pages and invalid requests."""

import base64
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.alerts import Assessment
from core.domain import Alert, RunRequest, SourceNotFound, count_found
from core.ledger import Ledger, open_ledger, this_process
from tests.conftest import Serve
from tests.service import Service, problem_of

START = datetime(2026, 2, 1, 8, tzinfo=UTC)
JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
ALERTS = [f"acc-{n:03}" for n in range(25)]


def record(ledger: Ledger, number: int, *, failed: bool = False, month: date = JANUARY) -> str:
    """Store a finished run that began `number` minutes after the start."""
    run_id, now = f"run-{number:02}", START + timedelta(minutes=number)
    ledger.begin_run(run_id, RunRequest("file:///x.parquet", month), this_process(), None, now)
    ledger.finish(run_id, SourceNotFound("it is not there") if failed else None, now)
    return run_id


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Yield the ledger that the service of the test reads."""
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    yield opened
    opened.close()


def pages(service: Service, path: str, items: str, **query: Any) -> Iterator[list[dict[str, Any]]]:
    """Yield each page of a list."""
    cursor: dict[str, str] = {}
    while True:
        page = service.get(path, **query, **cursor)
        assert set(page) == {items, "next_cursor"}
        yield page[items]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def test_each_run_is_on_one_page_newest_first(ledger: Ledger, service: Service) -> None:
    stored = [record(ledger, number) for number in range(7)]
    seen = []
    for page in pages(service, "/runs", "runs", limit=3):
        seen += [run["run_id"] for run in page]
        record(ledger, 10 + len(seen))
    assert seen == stored[::-1]


def test_runs_of_one_instant_are_each_on_one_page(ledger: Ledger, service: Service) -> None:
    for run_id in ("a", "b", "c", "d", "e"):
        ledger.begin_run(run_id, RunRequest("file:///x", JANUARY), this_process(), None, START)
    seen = [run["run_id"] for page in pages(service, "/runs", "runs", limit=2) for run in page]
    assert sorted(seen) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["run-03", "run-02", "run-01", "run-00"]),
        ({"month": "2026-02-01"}, ["run-03", "run-01"]),
        ({"status": "failed"}, ["run-03", "run-02"]),
        ({"status": "succeeded", "month": "2026-02-01"}, ["run-01"]),
        ({"status": "running"}, []),
        ({"month": "1999-01-01"}, []),
        ({"limit": 1}, ["run-03"]),
    ],
)
def test_runs_are_filtered_by_month_and_status(
    ledger: Ledger, service: Service, query: dict[str, Any], expected: list[str]
) -> None:
    for number in range(4):
        record(ledger, number, failed=number >= 2, month=FEBRUARY if number % 2 else JANUARY)
    assert [run["run_id"] for run in service.get("/runs", **query)["runs"]] == expected


def test_failed_run_has_its_error(ledger: Ledger, service: Service) -> None:
    run = service.get(f"/runs/{record(ledger, 1, failed=True)}")
    assert (run["status"], run["error"]) == (
        "failed",
        {"code": "source_not_found", "message": "it is not there"},
    )
    assert run["started_at"] == "2026-02-01T08:01:00Z"


@pytest.fixture
def planned(ledger: Ledger) -> str:
    """Store a run of many alerts: every third has no channel, the others are not sent."""
    alerts = [
        Alert(name, name, "AMER", 1, None, None, 1, JANUARY, "at_risk", *to)
        for n, name in enumerate(ALERTS)
        for to in [("amer", None) if n % 3 else (None, "unknown_region")]
    ]
    ledger.begin_run("run", RunRequest("file:///x", JANUARY, dry_run=True), this_process(), None, START)
    counts = count_found(0, 0, {"at_risk": (25, 0)})
    ledger.plan("run", Assessment("v1", counts, (), alerts), alerts, 0, START)
    ledger.finish("run", None, START)
    return "run"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ALERTS),
        ({"status": "failed"}, ALERTS[::3]),
        ({"status": "would_send"}, [name for n, name in enumerate(ALERTS) if n % 3]),
        ({"status": "sent"}, []),
    ],
)
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_each_alert_of_a_run_is_on_one_page(
    planned: str, service: Service, query: dict[str, str], expected: list[str], limit: int
) -> None:
    found = [
        alert["account_id"]
        for page in pages(service, f"/runs/{planned}/alerts", "alerts", limit=limit, **query)
        for alert in page
    ]
    assert found == expected


def test_run_has_ten_sample_alerts_and_errors(planned: str, service: Service) -> None:
    run = service.get(f"/runs/{planned}")
    assert len(run["sample_alerts"]) == 10
    assert len(run["sample_errors"]) == 9
    assert set(run["sample_errors"][0]) == {"account_id", "channel", "reason", "error"}


@pytest.mark.parametrize("path", ["/runs/no-such-run", "/runs/no-such-run/alerts", "/runs/%00%F0%9F%A6%8A"])
def test_unknown_run_is_not_found(service: Service, path: str) -> None:
    answer = service.client.get(path)
    assert (answer.status_code, problem_of(answer)["code"]) == (404, "run_not_found")


def _cursor(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).decode()


CURSORS = [
    "nonsense",
    "%",
    "ä",
    "x" * 201,
    _cursor(b"\xff\xfe"),
    _cursor(b"2026-01-01T00:00:00 run"),
    _cursor(b"0001-01-01T00:00:00+23:59 run"),
    _cursor(b"9" * 40),
    _cursor(b"-1"),
]


@pytest.mark.parametrize("path", ["/runs", "/runs/run/alerts"])
def test_invalid_list_parameter_is_refused(serve: Serve, planned: str, path: str) -> None:
    service = serve()
    queries: list[dict[str, str]] = [{"cursor": cursor} for cursor in CURSORS]
    queries += [{"limit": limit} for limit in ("0", "-1", "1001", "ten", "1.5")]
    queries += [{"status": status} for status in ("SENT", "nonsense", "")]
    if path == "/runs":
        queries += [{"month": month} for month in ("2026-01-15", "2026-1-1", "2026-13-01", "", "January")]
    for query in queries:
        answer = service.client.get(path, params=query)
        assert (answer.status_code, problem_of(answer)["code"]) == (422, "invalid_request"), query
    assert "Internal error" not in service.log.getvalue()
