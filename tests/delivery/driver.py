"""Runs that tests kill, each in its own process."""

from dataclasses import replace
from typing import Any

import pytest

from core.domain import RunRequest
from core.ledger import Ledger
from core.ledger.database import Database
from core.run import prepare_run
from flows.start import run_month
from tests.alerts.of_the_tests import register
from tests.delivery.world import MONTH, deliver, routed, settings


def work(job: dict[str, Any]) -> None:
    """Run the month of the job's source, or only send its alerts, each given as account id and channel."""
    register(pytest.MonkeyPatch())
    chosen = settings(job["url"], job["ledger"], **job.get("settings", {}))
    if "source" in job:
        run_month(replace(prepare_run(RunRequest(job["source"], MONTH), chosen), run_id=job["run_id"]))
        return
    alerts = [routed(account, channel) for account, channel in job["alerts"]]
    deliver(Ledger(Database(job["ledger"])), alerts, chosen, job["run_id"])
