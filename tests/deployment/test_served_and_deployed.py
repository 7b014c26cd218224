"""The documented commands with a real Prefect: `make serve`, `prefect deploy --all`, a worker, its runs."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
import pytest
from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Pending
from prefect.workers.base import BaseJobConfiguration
from websockets import InvalidStatus, Origin, Subprotocol
from websockets.sync.client import connect

from examples.mock_slack import MockSlack
from tests.cli.calling import ROOT, run_python
from tests.deployment.processes import process
from tests.prefect_homes import new_home
from tests.service import answers, closed_port, row, variables, write_source
from tests.waiting import HANG_SECONDS, until

PYTHON = (sys.executable, "-m")
FLOW = "monthly-risk-alerts"
SECRETS = {
    "SLACK_WEBHOOK_URL": ("risk-alerts-slack-webhook-url", "https://hooks.example/secret"),
    "DATABASE_URL": ("risk-alerts-database-url", "postgresql://alerts:secret@db.example/alerts"),
}


@dataclass(frozen=True)
class Served:
    """The URLs of `make serve`, and the environment of its users."""

    api: httpx.Client
    prefect: SyncPrefectClient
    environment: dict[str, str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    with ExitStack() as stack:
        slack = stack.enter_context(MockSlack())
        api, prefect = f"http://127.0.0.1:{closed_port()}", f"http://127.0.0.1:{closed_port()}"
        environment = {
            **os.environ,
            "API_PORT": api.rsplit(":", 1)[1],
            "PREFECT_PORT": prefect.rsplit(":", 1)[1],
            "PREFECT_HOME": str(new_home(tmp_path_factory)),
            **variables(slack.url, folder),
            # Shorten the pauses of Prefect.
            "PREFECT_WORKER_QUERY_SECONDS": "0.5",
            "PREFECT_DEPLOYMENT_CONCURRENCY_SLOT_WAIT_SECONDS": "1",
            "PREFECT_API_SERVICES_SCHEDULER_LOOP_SECONDS": "1",
        }
        log = folder / "serve.log"
        servers = stack.enter_context(process([*PYTHON, "cli", "serve"], environment, log))
        client = stack.enter_context(httpx.Client(base_url=api, timeout=HANG_SECONDS))
        until(lambda: answers(f"{prefect}/api/health") and answers(f"{api}/health"), log.read_text)
        stack.enter_context(temporary_settings({PREFECT_API_URL: f"{prefect}/api"}))
        environment["PREFECT_API_URL"] = f"{prefect}/api"
        yield Served(client, stack.enter_context(get_client(sync_client=True)), environment)
        servers.terminate()
        assert servers.wait(HANG_SECONDS) == 0, log.read_text(errors="replace")


@pytest.fixture(scope="module")
def deployed(served: Served) -> Served:
    """Create the three pools, and deploy as docs/deployment.md shows."""
    for pool, kind in (("", "process"), ("-docker", "docker"), ("-kubernetes", "kubernetes")):
        template = ROOT / f"deploy/prefect-pool-{kind}.json"
        more = {"base_job_template": json.loads(template.read_text())} if pool else {}
        served.prefect.create_work_pool(WorkPoolCreate(name=f"risk-alerts{pool}", type=kind, **more))
    done = run_python("-m", "prefect", "deploy", "--all", **served.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return served


def test_run_of_the_api_is_in_prefects_ui(served: Served, source: str) -> None:
    answer = served.api.post("/runs", json={"source_uri": source, "month": "2026-01-01"})
    run = served.api.get(f"/runs/{answer.json()['run_id']}").json()
    assert run["status"] == "succeeded"
    flow_run = served.prefect.read_flow_run(run["flow_run_id"])
    assert flow_run.state.is_completed()
    api = served.environment["PREFECT_API_URL"]
    ui = api.removesuffix("/api")
    with httpx.Client(timeout=HANG_SECONDS, follow_redirects=True) as client:
        assert "Prefect" in client.get(ui).text
        # The address that the pages of the UI call.
        shown = client.get(f"{ui}/ui-settings").json()
    assert shown["api_url"] == api
    # Version 2 calls amplitude.com.
    assert shown["default_ui"] == "v1"


def test_prefect_sends_no_telemetry_and_frees_dead_slots(served: Served) -> None:
    settings = f"{served.environment['PREFECT_API_URL']}/admin/settings"
    found = httpx.get(settings, timeout=HANG_SECONDS).json()["server"]
    assert found["analytics_enabled"] is False
    assert found["concurrency"]["lease_storage"] == "prefect.server.concurrency.lease_storage.filesystem"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "{ui}"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example"}, 400),
    ],
    ids=str,
)
def test_only_programs_and_its_own_pages_may_call_prefect(
    served: Served, headers: dict[str, str], status: int
) -> None:
    """Prefect has no login, a worker runs any command of a flow run, and a page may send a body as a Blob."""
    api = served.environment["PREFECT_API_URL"]
    sent = {name: value.format(ui=api.removesuffix("/api")) for name, value in headers.items()}
    answer = httpx.post(f"{api}/flows/filter", content=b"{}", headers=sent, timeout=HANG_SECONDS)
    assert answer.status_code == status


def test_page_of_another_site_cannot_hear_the_events_of_prefect(served: Served) -> None:
    events = served.environment["PREFECT_API_URL"].replace("http:", "ws:") + "/events/out"
    with connect(events, subprotocols=[Subprotocol("prefect")]):
        pass
    with pytest.raises(InvalidStatus, match="403"):
        connect(events, subprotocols=[Subprotocol("prefect")], origin=Origin("http://evil.example"))


def test_only_one_deployment_has_an_active_schedule(deployed: Served) -> None:
    active = {}
    for name, pool in (("monthly", ""), ("monthly-docker", "-docker"), ("monthly-kubernetes", "-kubernetes")):
        found = deployed.prefect.read_deployment_by_name(f"{FLOW}/{name}")
        assert found.work_pool_name == f"risk-alerts{pool}"
        assert found.parameters.keys() == {"source_uri", "dry_run"}
        assert found.global_concurrency_limit.limit == 1
        assert str(found.concurrency_options.collision_strategy.value) == "ENQUEUE"
        (schedule,) = (one for one in found.schedules if isinstance(one.schedule, CronSchedule))
        assert schedule.schedule.cron == "0 8 1 * *"
        assert schedule.schedule.timezone == "America/New_York"
        active[name] = schedule.active
    assert active == {"monthly": True, "monthly-docker": False, "monthly-kubernetes": False}


async def configuration(name: str) -> BaseJobConfiguration:
    """Return the job configuration that the pool's worker makes from a deployment."""
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(f"{FLOW}/monthly-{name}")
        pool = await client.read_work_pool(f"risk-alerts-{name}")
        return await BaseJobConfiguration.from_template_and_values(
            base_job_template=pool.base_job_template, values=deployment.job_variables, client=client
        )


def test_docker_worker_gets_encrypted_secrets(deployed: Served) -> None:
    for block, value in SECRETS.values():
        Secret(value=value).save(block)
    environment = asyncio.run(configuration("docker")).env
    assert {name: environment[name] for name in SECRETS} == {name: v for name, (_, v) in SECRETS.items()}
    assert "amer-risk-alerts" in (environment["REGIONS"] or "")
    for kept in (
        deployed.prefect.read_deployment_by_name(f"{FLOW}/monthly-docker").model_dump_json(),
        deployed.prefect.read_work_pool("risk-alerts-docker").model_dump_json(),
    ):
        assert "secret@" not in kept
        assert "example/secret" not in kept


def test_kubernetes_job_gets_secrets_from_kubernetes(deployed: Served) -> None:
    assert SECRETS.keys().isdisjoint(asyncio.run(configuration("kubernetes")).env)
    template = deployed.prefect.read_work_pool("risk-alerts-kubernetes").base_job_template
    (container,) = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"secretRef": {"name": "{{ secret }}"}}]
    assert container["securityContext"]["readOnlyRootFilesystem"]


def test_documented_state_frees_the_slot_of_a_canceled_run(deployed: Served) -> None:
    """A run that is canceled before it begins stays Cancelling, as does one whose worker was killed."""
    documented = re.search(r"set_state --data '(.+)'", (ROOT / "docs/operations.md").read_text())
    deployment = deployed.prefect.read_deployment_by_name(f"{FLOW}/monthly")
    stuck = deployed.prefect.create_flow_run_from_deployment(deployment.id).id

    def active_slots() -> int | None:
        limit = deployed.prefect.read_deployment(deployment.id).global_concurrency_limit
        return limit and limit.active_slots

    for state in (Pending(), Cancelling()):
        deployed.prefect.set_flow_run_state(stuck, state)
    assert active_slots() == 1
    answer = httpx.post(
        f"{deployed.environment['PREFECT_API_URL']}/flow_runs/{stuck}/set_state",
        json=json.loads(documented[1]),
    )
    assert answer.is_success, answer.text
    assert active_slots() == 0


def test_manual_and_scheduled_runs_do_not_overlap(deployed: Served, tmp_path: Path) -> None:
    this_month = datetime.now(ZoneInfo("America/New_York")).date().replace(day=1)
    source = write_source(
        tmp_path / "status.parquet", [row("by-hand", "2025-06-01"), row("now", str(this_month))]
    )
    deployment = deployed.prefect.read_deployment_by_name(f"{FLOW}/monthly")
    by_hand = deployed.prefect.create_flow_run_from_deployment(
        deployment.id, parameters={"source_uri": source, "month": "2025-06-01"}
    )
    # The schedule of the deployment starts on the first of a month. A second schedule starts at once, and
    # again each minute, because a busy server may miss its first time.
    soon = IntervalSchedule(
        interval=timedelta(minutes=1),
        anchor_date=datetime.now(UTC) + timedelta(seconds=3),
        timezone="America/New_York",
    )
    answer = httpx.post(
        f"{deployed.environment['PREFECT_API_URL']}/deployments/{deployment.id}/schedules",
        json=[
            {"active": True, "schedule": soon.model_dump(mode="json"), "parameters": {"source_uri": source}}
        ],
    )
    assert answer.is_success, answer.text

    def finished() -> list[dict[str, Any]]:
        """Return the first finished run of each month, oldest first."""
        runs = deployed.api.get("/runs").json()["runs"]
        newest_first = [run for run in runs if run["source_uri"] == source and run["finished_at"]]
        first = {run["month"]: run for run in newest_first}
        return sorted(first.values(), key=lambda run: run["started_at"])

    def is_over(flow_run: str) -> bool:
        state = deployed.prefect.read_flow_run(UUID(flow_run)).state
        return state is not None and state.is_final()

    worker = [*PYTHON, "prefect", "worker", "start", "--pool", "risk-alerts"]
    with process(worker, deployed.environment, tmp_path / "worker.log"):
        until(lambda: len(finished()) == 2)
        until(lambda: all(is_over(run["flow_run_id"]) for run in finished()))
    runs = finished()
    assert [run["status"] for run in runs] == ["succeeded"] * 2
    assert {run["month"] for run in runs} == {"2025-06-01", str(this_month)}
    assert all(run["counts"]["alerts_sent"] == 1 for run in runs)
    assert all(before["finished_at"] <= after["started_at"] for before, after in pairwise(runs))
    flow_runs = {run["month"]: run["flow_run_id"] for run in runs}
    assert flow_runs["2025-06-01"] == str(by_hand.id)
    scheduled = deployed.prefect.read_flow_run(flow_runs[str(this_month)])
    assert scheduled.auto_scheduled
    assert "month" not in scheduled.parameters
    # A worker does not set up our logging, so the flow sets the level of its lines.
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[by_hand.id]))
    until(lambda: f"Reading {source}" in [line.message for line in deployed.prefect.read_logs(wanted)])
