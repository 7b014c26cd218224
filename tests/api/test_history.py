"""`GET /runs`, `GET /runs/{run_id}` and its alerts; tests/ledger states the rules of the lists themselves."""

from pathlib import Path

import pytest

from core.domain import SourceNotFound
from core.ledger import Ledger
from tests.conftest import Serve
from tests.delivery.world import (
    END_OF_RUN,
    GONE,
    MONTH,
    NOW,
    OTHER_MONTH,
    assert_pages,
    begin,
    failing,
    routed,
)
from tests.service import Service, problem_of
from tests.waiting import until

ALERTS = ["A-0", "A-1", "A-2", "A-3", "A-4"]


@pytest.fixture
def ledger(ledger: Ledger) -> Ledger:
    """Return the ledger of the service with four runs; every other alert of the last one has no channel."""
    alerts = [routed(name, "amer" if n % 2 else None) for n, name in enumerate(ALERTS)]
    for number, month in enumerate((OTHER_MONTH, MONTH) * 2):
        run_id = f"run-{number}"
        begin(ledger, run_id, alerts if number == 3 else (), month=month, dry_run=True)
        ledger.finish(run_id, SourceNotFound("it is not there") if number >= 2 else None, NOW)
    return ledger


@pytest.mark.parametrize(
    ("of", "query", "expected"),
    [
        ("/runs", {}, ["run-3", "run-2", "run-1", "run-0"]),
        ("/runs", {"month": "2026-01-01"}, ["run-3", "run-1"]),
        ("/runs", {"status": "failed"}, ["run-3", "run-2"]),
        ("/runs/run-3/alerts", {"status": "failed"}, ALERTS[::2]),
    ],
)
def test_each_item_of_a_list_is_on_one_page(
    ledger: Ledger, service: Service, of: str, query: dict[str, str], expected: list[str]
) -> None:
    items, name = ("alerts", "account_id") if of.endswith("/alerts") else ("runs", "run_id")

    def page(limit: int | None, cursor: str | None) -> tuple[list[str], str | None]:
        given = {"limit": limit, "cursor": cursor}
        found = service.get(of, **query, **{name: value for name, value in given.items() if value})
        assert set(found) == {items, "next_cursor"}
        return [item[name] for item in found[items]], found["next_cursor"]

    assert_pages(page, expected)


@pytest.mark.parametrize("path", ["/runs/no-such-run", "/runs/no-such-run/alerts", "/runs/%00%F0%9F%A6%8A"])
def test_unknown_run_is_not_found(service: Service, path: str) -> None:
    found = problem_of(service.client.get(path))
    assert (found["status"], found["code"]) == (404, "run_not_found")


def test_start_closes_runs_of_dead_processes(ledger: Ledger, serve: Serve) -> None:
    begin(ledger, "dead", owner=GONE)
    assert serve().get("/runs/dead")["error"]["code"] == "interrupted"


def test_running_api_closes_runs_of_dead_processes(
    ledger: Ledger, path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search goes on when the ledger has failed."""
    monkeypatch.setattr("api.service.SEARCH_SECONDS", 0.05)
    service = serve()
    with failing(path, END_OF_RUN):
        ledger.claim("dead", begin(ledger, "dead", [routed("A-9")], owner=GONE)[0], NOW)
        until(lambda: "disk on fire" in service.log.getvalue())
    found = until(lambda: service.get("/outcomes", status="unconfirmed")["outcomes"])
    assert [(one["account_id"], one["reason"]) for one in found] == [("A-9", "process_died")]


@pytest.mark.parametrize("of", ["/runs", "/runs/run-3/alerts", "/outcomes"])
def test_invalid_list_parameter_is_named(ledger: Ledger, serve: Serve, of: str) -> None:
    service = serve()
    invalid = {
        "cursor": ["nonsense", "%", "ä", "x" * 201, "WzEsMl0"],
        "limit": ["0", "-1", "1001", "ten", "1.5"],
        "status": ["SENT", "nonsense", ""],
        "month": ["2026-01-15", "2026-1-1", "2026-13-01", "", "January"],
    }
    if of.endswith("/alerts"):
        del invalid["month"]
    for name, values in invalid.items():
        for value in values:
            found = problem_of(service.client.get(of, params={name: value}))
            assert (found["status"], found["code"]) == (422, "invalid_request"), (name, value)
            assert name in found["detail"], (value, found)
    assert "Internal error" not in service.log.getvalue()
