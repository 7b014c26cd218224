"""Starts a run in this process: under Prefect's engine when a Prefect API is configured, else without it."""

import asyncio
import logging
from contextlib import ExitStack

from core.domain import RiskAlertsError, RunRequest
from core.ledger import this_process
from core.run import RunContext, prepare_run, utc_now
from core.runtime import Settings
from flows.monthly_risk_alerts import monthly_risk_alerts, work_through
from flows.prefect_engine import configured_api, run_with_prefect

logger = logging.getLogger(__name__)


def run_month(run: RunContext) -> None:
    """Work on a run in this thread until it is over.

    Raises the error that ended the run, with its `run_id` when it was begun, or that kept it from beginning.
    """
    if url := configured_api():
        run_with_prefect(run, monthly_risk_alerts, url)
    else:
        asyncio.run(work_through(run))


class AcceptedRun:
    """A run for which nobody waits: recorded at once, begun in its turn, and alive in between."""

    def __init__(self, request: RunRequest, settings: Settings, run_id: str) -> None:
        """Record the run; raises what keeps it from being recorded. `work` must follow."""
        self._run = prepare_run(request, settings, run_id)
        self._run.ledger.begin_run(run_id, request, this_process(), None, utc_now())
        # Or another host would take a run that waits long for one whose process died.
        self._alive = ExitStack()
        self._alive.enter_context(self._run.kept_alive())

    def work(self) -> None:
        """Work on the run; an error that keeps it from beginning is stored with it."""
        run = self._run
        with self._alive:
            try:
                run_month(run)
            except RiskAlertsError as error:
                if not run.closed.done():
                    logger.error("Run %s could not begin: %s", run.run_id, error)  # noqa: TRY400
                    run.ledger.finish(run.run_id, error, utc_now())
