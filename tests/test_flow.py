"""A run in Prefect: its name, its tasks in order, its report; and no secret of a failed run."""

import asyncio
import json
import threading
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact, FlowRun
from prefect.exceptions import ParameterTypeError

from examples.mock_slack import MockSlack
from flows.monthly_risk_alerts import monthly_risk_alerts
from tests.conftest import services
from tests.service import MONTH, ROWS, Service, problem_of, write_source
from tests.waiting import HANG_SECONDS

T = TypeVar("T")

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


def ask(call: Coroutine[Any, Any, T]) -> T:
    """Query Prefect in a thread of its own, apart from a running event loop."""
    found: list[T] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(call)))
    thread.start()
    thread.join()
    return found[0]


async def _flow_run(url: str, flow_run_id: str) -> FlowRun:
    async with PrefectClient(url) as client:
        return await client.read_flow_run(UUID(flow_run_id))


async def _artifacts(url: str, flow_run_id: str) -> dict[str | None, Artifact]:
    of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run_id)]))
    async with PrefectClient(url) as client:
        return {found.key: found for found in await client.read_artifacts(artifact_filter=of_run)}


async def _tasks(url: str, flow_run_id: str) -> list[str]:
    """Return the tasks of a run in order; they are recorded from events, some time after the run is over."""
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)]))
    async with PrefectClient(url) as client, asyncio.timeout(HANG_SECONDS):
        while True:
            started = [
                task for task in await client.read_task_runs(flow_run_filter=of_run) if task.start_time
            ]
            if len(started) == len(TASKS):
                in_order = sorted(
                    started, key=lambda task: task.start_time or datetime.max.replace(tzinfo=UTC)
                )
                return [task.name.rpartition("-")[0] for task in in_order]
            await asyncio.sleep(0.1)


def test_flow_has_the_documented_parameters() -> None:
    assert monthly_risk_alerts.name == "monthly-risk-alerts"
    parameters = ["source_uri", "month", "dry_run", "retry_unconfirmed"]
    assert list(monthly_risk_alerts.parameters.properties) == parameters
    assert monthly_risk_alerts.parameters.required == ["source_uri"]
    with pytest.raises(ParameterTypeError, match="must be the first day"):
        monthly_risk_alerts.validate_parameters({"source_uri": "file:///x", "month": "2026-01-15"})


def test_prefect_shows_the_tasks_and_the_report_of_a_run(
    service: Service, prefect_api: str, tmp_path: Path
) -> None:
    source = write_source(tmp_path / "status.parquet")
    run_id = service.run(source, dry_run=True)["flow_run_id"]
    flow_run = ask(_flow_run(prefect_api, run_id))
    assert flow_run.name == f"2026-01 {source} (dry run)"
    assert flow_run.state_name == "Completed"
    assert ask(_tasks(prefect_api, run_id)) == TASKS
    kinds = {key: artifact.type for key, artifact in ask(_artifacts(prefect_api, run_id)).items()}
    assert kinds == {"risk-alerts-report": "markdown", "risk-alerts": "table"}


def test_report_lists_channels_and_advice(
    service: Service, prefect_api: str, source: str, slack: MockSlack, tmp_path: Path
) -> None:
    slack.fail("emea-risk-alerts", 404)
    found = ask(_artifacts(prefect_api, service.run(source)["flow_run_id"]))
    report = str(found["risk-alerts-report"].data)
    assert "| channel | sent | failed |\n|---|---:|---:|\n| amer-risk-alerts | 1 |  |" in report
    assert "| (no channel) |  | 1 |" in report
    assert "- **channel_not_found** (1): fix the channel or its webhook; then run the month again." in report
    assert "**unknown_region** (1): give the region a channel in REGIONS" in report
    table = json.loads(str(found["risk-alerts"].data))
    assert [(row["account_name"], row["channel"], row["status"], row["reason"]) for row in table] == [
        ("Acme & <Co>", "amer-risk-alerts", "sent", None),
        ("Bolt", "emea-risk-alerts", "failed", "channel_not_found"),
        ("Cargo", None, "failed", "unknown_region"),
    ]


def test_failed_run_fails_in_prefect_without_a_secret(service: Service, prefect_api: str) -> None:
    found = problem_of(service.post("/runs", "file:///no/such.parquet"))
    run = service.get(f"/runs/{found['run_id']}")
    flow_run = ask(_flow_run(prefect_api, run["flow_run_id"]))
    assert flow_run.state is not None
    assert flow_run.state.is_failed()
    assert "no such file or folder" in (flow_run.state.message or "")
    assert run["month"] == MONTH
