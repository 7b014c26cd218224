"""Runs to be killed: reads one job a line (JSON), does it in a process of its own, says its id and its end.

The runs go without Prefect's engine, which takes seconds to start and records nothing that counts here. A
fork for each job spares the imports.
"""

import json
import os
import sys
from typing import Any

import pytest

from core.domain import RunRequest
from core.ledger import Ledger, open_ledger
from core.ledger.database import Database
from core.run import prepare_run
from flows.start import run_month
from tests.alerts.of_the_tests import register
from tests.delivery.world import MONTH, deliver, routed, settings


def work(job: dict[str, Any]) -> None:
    """Run the month of the job's source, or only send its alerts, each given as account id and channel."""
    chosen = settings(job["url"], job["ledger"], **job.get("settings", {}))
    if "source" in job:
        request, ledger = RunRequest(job["source"], MONTH), open_ledger(chosen.database_url)
        run_month(prepare_run(request, chosen, ledger, job["run_id"]))
        return
    alerts = [routed(account, channel) for account, channel in job["alerts"]]
    deliver(Ledger(Database(job["ledger"])), alerts, chosen, job["run_id"])


def main() -> None:
    """Do the jobs until there are no more."""
    register(pytest.MonkeyPatch())
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            try:
                work(json.loads(line))
                os._exit(0)
            finally:
                os._exit(1)
        print(pid, flush=True)  # noqa: T201  # the answer to the test
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
