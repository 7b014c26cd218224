"""A flow run that is canceled in Prefect's UI, with a real worker."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.settings import temporary_settings
from prefect.states import Cancelling

from core.ledger import open_ledger
from flows.monthly_risk_alerts import monthly_risk_alerts
from tests.cli.calling import ROOT
from tests.service import MONTH
from tests.slack.hostile import HostileSlack, answer, slowly
from tests.stopping.world import check, environment, source
from tests.waiting import HANG_SECONDS, until

OK = answer(200, "ok")


def deploy_and_ask_for_a_run(parameters: dict[str, str]) -> UUID:
    """Create a flow run as the UI does, of a deployment such as the one in prefect.yaml; return its id."""
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(
            client.create_flow(monthly_risk_alerts),
            name="canceled",
            entrypoint="flows.monthly_risk_alerts.monthly_risk_alerts",
            path=str(ROOT),
        )
        return client.create_flow_run_from_deployment(deployment, parameters=parameters).id


def cancel(flow_run: UUID, worker: "subprocess.Popen[str]") -> str:
    """Cancel the flow run until its worker ends, and return what the worker printed.

    A busy server may drop the event that tells the worker; each further request sends another.
    """
    deadline = time.monotonic() + HANG_SECONDS
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            # Without `force`, Prefect keeps the state of a run that has ended.
            client.set_flow_run_state(flow_run, Cancelling())
            with suppress(subprocess.TimeoutExpired):
                return worker.communicate(timeout=3)[0]
    worker.kill()
    raise AssertionError(worker.communicate()[0])


def test_canceled_flow_run_closes_the_run(prefect_api: str, tmp_path: Path) -> None:
    with HostileSlack() as slack, temporary_settings({"api.url": prefect_api}):
        settings = environment(slack, tmp_path, PREFECT_API_URL=prefect_api)
        # The run must last until a busy server has passed the cancellation on.
        slack.script("/amer", OK, OK, slowly(2, OK))
        flow_run = deploy_and_ask_for_a_run({"source_uri": source(tmp_path), "month": MONTH})
        # The command that a worker starts for each run.
        command = [sys.executable, "-m", "prefect", "flow-run", "execute", str(flow_run)]
        worker = subprocess.Popen(
            command,
            cwd=tmp_path,
            env=settings | {"PREFECT_RUNNER_POLL_FREQUENCY": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        until(lambda: len(slack.requests) > 2)
        printed = cancel(flow_run, worker)
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(flow_run).state
        assert state.is_cancelled(), printed
        [run] = open_ledger(settings["DATABASE_URL"]).history.runs(limit=9).runs
        check(run.model_dump(mode="json"), slack)
