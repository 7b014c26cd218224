"""A flow run that Prefect retries is a replay; a run with a waiting caller is not retried."""

import contextlib
import json
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.domain import AlertStatus, RunStatus
from core.ledger import open_ledger
from tests.cli.calling import run_python
from tests.delivery.world import failing
from tests.faults.world import ACCOUNTS, World, new_world
from tests.service import MONTH

UNRECORDED = "A-1"


@pytest.fixture
def world(prefect_api: str, tmp_path: Path) -> Iterator[World]:
    """Yield a world whose ledger refuses the answer to one alert from the second message on."""
    write = f"UPDATE ON alert_outcomes WHEN NEW.status = 'sent' AND NEW.account_id = '{UNRECORDED}'"
    with new_world(tmp_path, prefect_api) as made, contextlib.ExitStack() as broken:
        made.slack.act = lambda: broken.enter_context(failing(tmp_path / "ledger.db", write))
        yield made


FLOWS, TASKS = ({f"PREFECT_{name}_DEFAULT_RETRIES": "1"} for name in ("FLOW", "TASK"))
"""The settings in which Prefect retries failed flows and tasks."""


def test_flow_run_retried_by_prefect_is_a_replay(world: World) -> None:
    """A worker runs the flow alone, without a caller that waits for the run."""
    program = (
        "import asyncio; from flows.monthly_risk_alerts import monthly_risk_alerts as flow;"
        f" asyncio.run(flow(source_uri={world.source!r}, month={MONTH!r}))"
    )
    ended = run_python("-c", program, **world.environment, **FLOWS)
    assert ended.returncode == 0, ended.stderr
    second, first = world.runs
    assert (first.status, second.status) == (RunStatus.FAILED, RunStatus.SUCCEEDED)
    assert first.error.code == "ledger_unavailable"
    assert first.flow_run_id == second.flow_run_id
    history = open_ledger(world.environment["DATABASE_URL"]).history
    found = {alert.account_id: alert.status for alert in history.alerts(second.run_id, limit=9).alerts}
    assert found == dict.fromkeys(ACCOUNTS, AlertStatus.SENT) | {
        "A-0": AlertStatus.SKIPPED_REPLAY,
        UNRECORDED: AlertStatus.UNCONFIRMED,
    }
    assert world.slack.accounts == ACCOUNTS


def test_run_with_a_waiting_caller_is_not_retried(world: World, tmp_path: Path) -> None:
    """Nor does Prefect store what the stages return: it stores only the error of the flow."""
    stored = tmp_path / "stored"
    persist = {"PREFECT_RESULTS_PERSIST_BY_DEFAULT": "true", "PREFECT_LOCAL_STORAGE_PATH": str(stored)}
    command = ("-m", "flows.monthly_risk_alerts", "--json", "--month", MONTH, "--source-uri", world.source)
    ended = run_python(*command, **world.environment, **FLOWS, **TASKS, **persist)
    [only] = world.runs
    assert json.loads(ended.stdout)["run_id"] == only.run_id
    assert (ended.returncode, only.status) == (1, RunStatus.FAILED)
    assert only.error.code == "ledger_unavailable"
    assert world.slack.accounts == ["A-0", UNRECORDED]
    [error] = stored.iterdir()
    assert b"LedgerError" in b64decode(error.read_bytes())
