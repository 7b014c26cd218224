"""A run in Prefect: its name, its tasks in order, its report; and no secret of a failed run."""

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.client.schemas.objects import Artifact
from prefect.exceptions import ParameterTypeError

from examples.mock_slack import MockSlack
from flows.monthly_risk_alerts import monthly_risk_alerts
from tests.conftest import services
from tests.service import MONTH, ROWS, Service, problem_of, write_source
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


def test_report_lists_channels_and_advice(
    service: Service, prefect: SyncPrefectClient, source: str, slack: MockSlack
) -> None:
    slack.fail("emea-risk-alerts", 404)
    found = artifacts(prefect, service.run(source)["flow_run_id"])
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


def test_failed_run_fails_in_prefect_without_a_secret(service: Service, prefect: SyncPrefectClient) -> None:
    found = problem_of(service.post("/runs", "file:///no/such.parquet"))
    run = service.get(f"/runs/{found['run_id']}")
    flow_run = prefect.read_flow_run(UUID(run["flow_run_id"]))
    assert flow_run.state is not None
    assert flow_run.state.is_failed()
    assert "no such file or folder" in (flow_run.state.message or "")
    assert run["month"] == MONTH
