"""A run to be killed in its mail, called in a process of its own."""

from pathlib import Path

from core.domain import RunRequest
from core.run import RunContext, open_run
from tasks.notify_support import notify_support
from tests.delivery.world import MONTH, NOW, assessment, open_at, routed
from tests.support.servers import smtp_settings


def work(path: Path, port: int, *accounts: str) -> None:
    """Run a month whose alerts, all without a channel, are for these accounts; mail to the port."""
    ledger = open_at(path)
    alerts = [routed(account, None) for account in accounts]
    request = RunRequest("file:///source.parquet", MONTH)
    with open_run(RunContext("killed", request, smtp_settings(port), ledger)) as run:
        ledger.plan(run.run_id, assessment(alerts), alerts, 0, NOW)
        notify_support.fn(run)
