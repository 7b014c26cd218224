"""`GET /runs`, `GET /runs/{run_id}` and its alerts; tests/ledger states the rules of the lists themselves."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from core.domain import RunRequest, SourceNotFound
from core.ledger import Ledger, open_ledger, this_process
from tests.conftest import Serve
from tests.delivery.world import assessment, routed
from tests.service import Service, problem_of

START = datetime(2026, 2, 1, 8, tzinfo=UTC)
JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
ALERTS = [f"A-{number:02}" for number in range(21)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """Yield the ledger of the service with four runs; every other alert of the last one has no channel."""
    opened = open_ledger(f"sqlite:///{tmp_path}/ledger.db")
    for number in range(4):
        run_id, now = f"run-{number}", START + timedelta(minutes=number)
        request = RunRequest("file:///x.parquet", FEBRUARY if number % 2 else JANUARY, dry_run=True)
        opened.begin_run(run_id, request, this_process(), None, now)
        if number == 3:
            alerts = [routed(name, "amer" if n % 2 else None) for n, name in enumerate(ALERTS)]
            opened.plan(run_id, assessment(alerts), alerts, 0, now)
        opened.finish(run_id, SourceNotFound("it is not there") if number >= 2 else None, now)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("path", "query", "expected"),
    [
        ("/runs", {}, ["run-3", "run-2", "run-1", "run-0"]),
        ("/runs", {"month": "2026-02-01"}, ["run-3", "run-1"]),
        ("/runs", {"status": "failed"}, ["run-3", "run-2"]),
        ("/runs", {"status": "running"}, []),
        ("/runs/run-3/alerts", {}, ALERTS),
        ("/runs/run-3/alerts", {"status": "failed"}, ALERTS[::2]),
    ],
)
@pytest.mark.parametrize("limit", [1, 2, 1000])
def test_each_item_of_a_list_is_on_one_page(
    ledger: Ledger, service: Service, path: str, query: dict[str, str], expected: list[str], limit: int
) -> None:
    items, name = ("alerts", "account_id") if path.endswith("/alerts") else ("runs", "run_id")
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = service.get(path, **query, **cursor, limit=limit)
        assert set(page) == {items, "next_cursor"}
        assert len(page[items]) <= limit
        found += [item[name] for item in page[items]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert found == expected


def test_failed_run_has_its_error(ledger: Ledger, service: Service) -> None:
    run = service.get("/runs/run-2")
    assert run["status"] == "failed"
    assert run["error"] == {"code": "source_not_found", "message": "it is not there"}
    assert run["started_at"] == "2026-02-01T08:02:00Z"


def test_run_has_ten_sample_alerts_and_errors(ledger: Ledger, service: Service) -> None:
    run = service.get("/runs/run-3")
    for name, expected in (("sample_alerts", ALERTS), ("sample_errors", ALERTS[::2])):
        assert [sample["account_id"] for sample in run[name]] == expected[:10]


@pytest.mark.parametrize("path", ["/runs/no-such-run", "/runs/no-such-run/alerts", "/runs/%00%F0%9F%A6%8A"])
def test_unknown_run_is_not_found(service: Service, path: str) -> None:
    answer = service.client.get(path)
    assert (answer.status_code, problem_of(answer)["code"]) == (404, "run_not_found")


@pytest.mark.parametrize("path", ["/runs", "/runs/run-3/alerts", "/outcomes"])
def test_invalid_list_parameter_is_named(ledger: Ledger, serve: Serve, path: str) -> None:
    service = serve()
    invalid = {
        "cursor": ["nonsense", "%", "ä", "x" * 201, "WzEsMl0"],
        "limit": ["0", "-1", "1001", "ten", "1.5"],
        "status": ["SENT", "nonsense", ""],
        "month": ["2026-01-15", "2026-1-1", "2026-13-01", "", "January"],
    }
    if path.endswith("/alerts"):
        del invalid["month"]
    for name, values in invalid.items():
        for value in values:
            answer = service.client.get(path, params={name: value})
            found = problem_of(answer)
            assert (answer.status_code, found["code"]) == (422, "invalid_request"), (name, value)
            assert name in found["detail"], (value, found)
    assert "Internal error" not in service.log.getvalue()
