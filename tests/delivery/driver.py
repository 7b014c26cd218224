"""Runs to be killed: reads one job a line (JSON), does it in a process of its own, says its id and its end.

The stages run as in the flow but without Prefect, which takes seconds to start and records nothing that
counts here. A fork for each job spares the imports.
"""

import json
import os
import sys
from typing import Any

from core.ledger import Ledger
from core.ledger.database import Database
from tests.delivery.world import deliver, routed, settings


def work(job: dict[str, Any]) -> None:
    """Send the alerts of a job, each given as account id and channel."""
    alerts = [routed(account, channel) for account, channel in job["alerts"]]
    deliver(Ledger(Database(job["ledger"])), alerts, settings(job["url"], job["ledger"]), job["run_id"])


def main() -> None:
    """Do the jobs until there are no more."""
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
