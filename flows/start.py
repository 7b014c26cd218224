"""Start a run in this process, under Prefect's engine if a Prefect API is configured."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from functools import wraps
from typing import Any

from prefect import Flow
from prefect.runtime import flow_run

from core.domain import OrchestratorUnreachable, RiskAlertsError
from core.run import RunContext, utc_now
from flows.flow_run import show_logs_in_ui
from flows.monthly_risk_alerts import monthly_risk_alerts, run_stages
from flows.prefect_engine import configured_api, run_with_prefect

logger = logging.getLogger(__name__)


def run_month(run: RunContext) -> None:
    """Run the month in this thread until the run is over.

    Raises the error of a failed run, which has its `run_id` if the run was begun.
    """
    if url := configured_api():
        run_with_prefect(run, _flow_of(run), url)
    else:
        asyncio.run(run_stages(run))


def _flow_of(run: RunContext) -> Flow[..., Coroutine[Any, Any, str]]:
    """Return the flow that runs `run` instead of a new run, for a caller that waits for it."""

    @wraps(monthly_risk_alerts.fn)
    async def work(*_: Any, **__: Any) -> str:
        show_logs_in_ui()
        run.flow_run_id = flow_run.id
        if not run.flow_begun.set_running_or_notify_cancel():
            raise OrchestratorUnreachable("Prefect began this run after it was given up")
        run.flow_begun.set_result(None)
        await run_stages(run)
        return run.run_id

    # The caller gets this run as its answer; a retry would be another run after that.
    flow = monthly_risk_alerts.with_options(retries=0)
    flow.fn = work
    return flow


def accept(run: RunContext) -> Callable[[], None]:
    """Record a run that starts later; return the function that runs it, which must be called."""
    run.begin()
    # Without a heartbeat, another host would close a run that waits long as dead.
    alive = ExitStack()
    alive.enter_context(run.kept_alive())

    def work() -> None:
        with alive:
            try:
                run_month(run)
            except RiskAlertsError as error:
                if not run.closed.done():
                    # Prefect or the ledger failed before the first stage, so the flow has not closed the run.
                    logger.error("Run %s could not begin: %s", run.run_id, error)
                    run.ledger.finish(run.run_id, error, utc_now())

    return work
