"""Start a run in this process, under Prefect's engine if a Prefect API is configured."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack

from core.run import RunContext, close_run, known_error
from flows.monthly_risk_alerts import run_stages
from flows.prefect_engine import configured_api, run_with_prefect


def run_month(run: RunContext) -> None:
    """Run the month in this thread until the run is over.

    Raises the error of a failed run, which has its `run_id` if the run was begun.
    """
    if url := configured_api():
        run_with_prefect(run, url)
    else:
        asyncio.run(run_stages(run))


def accept(run: RunContext) -> Callable[[], None]:
    """Record a run that starts later; return the function that runs it. The caller must call it."""
    run.begin()
    # Without a heartbeat, another host would close a run that waits long as dead.
    alive = ExitStack()
    alive.enter_context(run.kept_alive())

    def work() -> None:
        with alive:
            try:
                run_month(run)
            except Exception as error:  # noqa: BLE001  # no caller waits for it: only the ledger shows it
                if not run.closed.done():
                    # It ended before the first stage, so the flow has not closed the run.
                    close_run(run, known_error(run, error))

    return work
