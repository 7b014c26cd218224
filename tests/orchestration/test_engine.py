"""Runs under Prefect's engine, on a real server: a burst of them, a short outage, their log, a defect."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Timer
from uuid import UUID

import pytest
from prefect import task
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.settings import temporary_settings

from core.runtime import protect
from examples.mock_slack import MockSlack
from flows.flow_run import show_logs_in_ui
from tests.conftest import Serve, services
from tests.faults.proxy import Proxy
from tests.service import Service, loggers_restored, problem_of, row, write_source
from tests.waiting import until


@pytest.fixture
def serve(prefect_api: str, slack: MockSlack, tmp_path: Path) -> Iterator[Serve]:
    with services(slack, tmp_path, PREFECT_API_URL=prefect_api) as start:
        yield start


@pytest.fixture
def service(serve: Serve) -> Service:
    return serve()


def test_burst_of_runs_is_kept_apart(service: Service, tmp_path: Path) -> None:
    months = [f"2025-{number:02}-01" for number in range(1, 5)]
    rows = [row(f"of {month}", month) for month in months]
    source = write_source(tmp_path / "status.parquet", rows)
    with ThreadPoolExecutor(len(months)) as pool:
        runs = list(pool.map(lambda month: service.run(source, month), months))
    assert [run["sample_alerts"][0]["account_id"] for run in runs] == [f"of {month}" for month in months]
    assert len({run["flow_run_id"] for run in runs}) == len(months)
    assert sum(run["counts"]["alerts_sent"] for run in runs) == len(months)


def test_log_of_a_run_is_in_prefect_without_secrets(
    service: Service, prefect_api: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_window(*_: object) -> None:
        protect(["hunter2secret"])
        logging.getLogger("tasks.load_window").info("the password is hunter2secret")
        raise KeyError("hunter2secret")

    monkeypatch.setattr("flows.monthly_risk_alerts.load_window", task(load_window))
    found = problem_of(service.post("/runs", source))
    assert found["code"] == "internal_error"
    run = service.get(f"/runs/{found['run_id']}")
    texts: list[str] = []

    def logged() -> bool:
        wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[UUID(run["flow_run_id"])]))
        with temporary_settings({"api.url": prefect_api}), get_client(sync_client=True) as client:
            texts[:] = [entry.message for entry in client.read_logs(wanted)]
        return any("internal error" in text for text in texts)

    until(logged)
    assert "the password is ***" in texts
    assert "hunter2secret" not in "".join(texts)


def test_runs_leave_no_log_handler_behind(service: Service, source: str) -> None:
    names = ("core", "flows", "tasks", "prefect.flow_runs", "prefect.task_runs")

    def handlers() -> list[list[int]]:
        found = [logging.getLogger(name).handlers for name in names]
        return [[len(handler.filters) for handler in each] for each in found]

    service.run(source)
    before = handlers()
    service.run(source)
    assert handlers() == before


def test_short_outage_of_prefect_is_waited_out(
    serve: Serve, prefect_api: str, source: str, slack: MockSlack
) -> None:
    with Proxy(prefect_api) as proxy:
        service = serve(PREFECT_API_URL=proxy.url)
        slack.fail("amer-risk-alerts", 429, 1)
        proxy.hang()
        Timer(2, proxy.go_on).start()
        run = service.run(source)
        assert (run["status"], "Prefect missed" in service.log.getvalue()) == ("succeeded", False)


def test_line_outside_a_flow_run_causes_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    """A worker imports Prefect with its own defaults before our code."""
    with loggers_restored(), temporary_settings({"logging.to_api.when_missing_flow": "warn"}):
        show_logs_in_ui()
        logging.getLogger("core.run").warning("the heartbeat failed")
    assert [str(warning.message) for warning in recwarn] == []
