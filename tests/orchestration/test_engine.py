"""Runs under Prefect's engine, on a real server: what its UI shows of them, their log, a short outage."""

import asyncio
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from pathlib import Path
from threading import Timer
from uuid import UUID

import pytest
from prefect import task
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    LogFilter,
    LogFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact
from prefect.exceptions import ParameterTypeError
from prefect.logging.handlers import APILogHandler
from prefect.settings import temporary_settings

from core.domain import RunRequest
from core.ledger import open_ledger
from core.runtime import load_settings, protect
from examples.mock_slack import MockSlack
from flows import monthly_risk_alerts as module
from flows.artifacts import report
from flows.flow_run import show_logs_in_ui
from flows.monthly_risk_alerts import monthly_risk_alerts
from tests.conftest import services
from tests.faults.proxy import Proxy
from tests.service import MONTH, ROWS, Service, problem_of, row, write_source
from tests.waiting import until

TASKS = ["load_window", "dedupe", "compute_streaks", "route", "send", "persist", "notify_support"]


@pytest.fixture(scope="module")
def slack() -> Iterator[MockSlack]:
    with MockSlack() as mock:
        yield mock


@pytest.fixture(scope="module")
def service(
    prefect_api: str, slack: MockSlack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    with services(slack, tmp_path_factory.mktemp("flow"), PREFECT_API_URL=prefect_api) as serve:
        yield serve()


@pytest.fixture
def source(tmp_path: Path) -> str:
    """Return a source with new accounts, because all tests share one ledger."""
    rows = [{**one, "account_id": f"{tmp_path.name} {one['account_id']}"} for one in ROWS]
    return write_source(tmp_path / "status.parquet", rows)


@pytest.fixture
def prefect(prefect_api: str) -> Iterator[SyncPrefectClient]:
    with SyncPrefectClient(prefect_api) as client:
        yield client


def artifacts(prefect: SyncPrefectClient, flow_run_id: str) -> dict[str | None, Artifact]:
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]))
    return {found.key: found for found in prefect.read_artifacts(artifact_filter=of_run)}


def tasks(prefect: SyncPrefectClient, flow_run_id: str) -> list[str]:
    """Return the tasks of a run in order; they are recorded from events, some time after the run is over."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))

    def started() -> list[tuple[datetime, str]] | None:
        runs = prefect.read_task_runs(flow_run_filter=of_run)
        found = [(run.start_time, run.name.rpartition("-")[0]) for run in runs if run.start_time]
        return sorted(found) if len(found) == len(TASKS) else None

    return [name for _, name in until(started)]


def test_flow_has_the_documented_parameters() -> None:
    assert monthly_risk_alerts.name == "monthly-risk-alerts"
    parameters = ["source_uri", "month", "dry_run", "retry_unconfirmed"]
    assert list(monthly_risk_alerts.parameters.properties) == parameters
    assert monthly_risk_alerts.parameters.required == ["source_uri"]
    with pytest.raises(ParameterTypeError, match="must be the first day"):
        monthly_risk_alerts.validate_parameters({"source_uri": "file:///x", "month": "2026-01-15"})


def test_flow_runs_what_its_parameters_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API and the command line do not pass these parameters on: they have a `RunRequest`."""
    asked: list[RunRequest] = []

    def prepare(request: RunRequest, _: object) -> None:
        asked.append(request)
        raise InterruptedError

    monkeypatch.setattr(module, "prepare_run", prepare)
    for dry_run, again in ((True, False), (False, True)):
        with pytest.raises(InterruptedError):
            asyncio.run(monthly_risk_alerts.fn("file:///x", date(2026, 1, 1), dry_run, again))
        assert asked.pop() == RunRequest("file:///x", date(2026, 1, 1), dry_run, again)


def test_prefect_shows_the_tasks_and_the_report_of_a_run(
    service: Service, prefect: SyncPrefectClient, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "status.parquet")
    run_id = service.run(source, dry_run=True)["flow_run_id"]
    flow_run = prefect.read_flow_run(UUID(run_id))
    assert flow_run.name == f"2026-01 {source} (dry run)"
    assert flow_run.state_name == "Completed"
    assert tasks(prefect, run_id) == TASKS
    kinds = {key: artifact.type for key, artifact in artifacts(prefect, run_id).items()}
    assert kinds == {"risk-alerts-report": "markdown", "risk-alerts": "table"}


def test_prefect_gets_the_report_and_the_table(
    service: Service, prefect: SyncPrefectClient, source: str, slack: MockSlack
) -> None:
    slack.fail("emea-risk-alerts", 404)
    run = service.run(source)
    found = artifacts(prefect, run["flow_run_id"])
    history, run_id = open_ledger(load_settings().database_url).history, run["run_id"]
    expected = report(history.run(run_id), history.channels(run_id), history.open_of(run_id, 0))
    assert found["risk-alerts-report"].data == expected
    assert {artifact.description for artifact in found.values()} == {"Risk alerts 2026-01"}
    table = json.loads(str(found["risk-alerts"].data))
    assert not {"renewal_date", "account_owner", "attempts", "sent_at"} & table[0].keys()
    assert [(one["account_name"], one["channel"], one["status"], one["reason"]) for one in table] == [
        ("Acme & <\u2060Co>", "amer-risk-alerts", "sent", None),
        ("Bolt", "emea-risk-alerts", "failed", "channel_not_found"),
        ("Cargo", None, "failed", "unknown_region"),
    ]


def test_table_has_a_limit_and_the_report_counts_all(
    service: Service,
    prefect: SyncPrefectClient,
    source: str,
    slack: MockSlack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.artifacts.TABLE_ROWS", 1)
    slack.fail("emea-risk-alerts", 404)
    found = artifacts(prefect, service.run(source)["flow_run_id"])
    assert len(json.loads(str(found["risk-alerts"].data))) == 1
    assert str(found["risk-alerts-report"].data).count("** (1): ") == 2


def test_failed_run_fails_in_prefect_without_a_secret(service: Service, prefect: SyncPrefectClient) -> None:
    found = problem_of(service.post("/runs", "file:///no/such.parquet"))
    run = service.get(f"/runs/{found['run_id']}")
    flow_run = prefect.read_flow_run(UUID(run["flow_run_id"]))
    assert flow_run.state.is_failed()
    assert "no such file or folder" in (flow_run.state.message or "")
    assert run["month"] == MONTH
    assert "risk-alerts" not in artifacts(prefect, run["flow_run_id"]), "a table without rows"


def test_burst_of_runs_is_kept_apart(service: Service, tmp_path: Path) -> None:
    months = [f"2025-{number:02}-01" for number in range(1, 5)]
    rows = [row(f"of {month}", month) for month in months]
    source = write_source(tmp_path / "status.parquet", rows)
    with ThreadPoolExecutor(len(months)) as pool:
        runs = list(pool.map(lambda month: service.run(source, month), months))
    assert [run["sample_alerts"][0]["account_id"] for run in runs] == [f"of {month}" for month in months]
    assert len({run["flow_run_id"] for run in runs}) == len(months)
    assert sum(run["counts"]["alerts_sent"] for run in runs) == len(months)


def test_log_and_error_of_a_run_are_in_prefect_without_secrets(
    service: Service, prefect: SyncPrefectClient, source: str, monkeypatch: pytest.MonkeyPatch
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
        texts[:] = [entry.message for entry in prefect.read_logs(wanted)]
        return any("internal error" in text for text in texts)

    until(logged)
    assert "the password is ***" in texts
    assert "hunter2secret" not in "".join(texts)
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run["flow_run_id"])]))

    def failed() -> list[str]:
        states = [one.state for one in prefect.read_task_runs(flow_run_filter=of_run)]
        return [str(state.message) for state in states if state and state.is_failed()]

    [message] = until(failed)
    assert "KeyError: '***'" in message


def test_runs_leave_no_log_handler_behind(service: Service, source: str) -> None:
    names = ("core", "flows", "tasks", "prefect.flow_runs", "prefect.task_runs")

    def handlers() -> list[list[int]]:
        loggers = map(logging.getLogger, names)
        return [[len(each.filters) for each in (logger, *logger.handlers)] for logger in loggers]

    service.run(source)
    before = handlers()
    service.run(source)
    assert handlers() == before


def test_short_outage_of_prefect_is_waited_out(
    prefect_api: str, source: str, slack: MockSlack, tmp_path: Path
) -> None:
    with Proxy(prefect_api) as proxy, services(slack, tmp_path, PREFECT_API_URL=proxy.url) as serve:
        service = serve()
        slack.fail("amer-risk-alerts", 429, 1)
        proxy.hang()
        Timer(2, proxy.go_on).start()
        run = service.run(source)
        assert run["flow_run_id"]
        assert "Prefect missed" not in service.log.getvalue()


def test_line_outside_a_flow_run_causes_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    """A worker imports Prefect with its own defaults before our code."""
    with temporary_settings({"logging.to_api.when_missing_flow": "warn"}):
        show_logs_in_ui()
        logging.getLogger("core.run").warning("the heartbeat failed")
    # Not a ResourceWarning: garbage of an earlier test may cause one at any time.
    assert [str(warning.message) for warning in recwarn if warning.category is UserWarning] == []


def test_extra_loggers_of_prefect_lose_no_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PREFECT_LOGGING_EXTRA_LOGGERS` adds the handler before our code, and leaves the level at WARNING."""
    logger = logging.getLogger("core")
    monkeypatch.setattr(logger, "handlers", [APILogHandler()])
    logger.setLevel(logging.NOTSET)
    show_logs_in_ui()
    assert len(logger.handlers) == 1
    assert logger.isEnabledFor(logging.INFO)
