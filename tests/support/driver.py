"""A run to be killed in its mail: alerts without a channel, and a mail server of the test's."""

import json
import sys
from pathlib import Path

from core.domain import RunRequest
from core.run import RunContext, open_run
from tasks.notify_support import notify_support
from tests.delivery.world import MONTH, NOW, assessment, open_at, routed
from tests.support.servers import smtp_settings


def main() -> None:
    """Run the month as the argument says."""
    job = json.loads(sys.argv[1])
    ledger = open_at(Path(job["path"]))
    alerts = [routed(account, None) for account in job["accounts"]]
    request = RunRequest("file:///source.parquet", MONTH)
    with open_run(RunContext("killed", request, smtp_settings(job["port"]), ledger)) as run:
        ledger.plan(run.run_id, assessment(alerts), alerts, 0, NOW)
        notify_support.fn(run)


if __name__ == "__main__":
    main()
