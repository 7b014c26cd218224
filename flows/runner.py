"""Starts a run in this process and answers with what the ledger says of it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from core.domain import RunRequest, RunStatus
from core.errors import InternalError, OrchestratorUnreachable, RiskAlertsError, RunNotFound, error_of
from core.ledger import open_ledger
from core.liveness import this_process
from core.run import kept_alive, requested_run_id, utc_now
from core.settings import Settings
from core.views import RunView
from flows.flow_run import refuse_unstorable, when_begun
from flows.monthly_risk_alerts import monthly_risk_alerts
from flows.orchestrator import Orchestrator, PrefectFailed

BEGIN_AT_ONCE = 2
"""Runs that Prefect is asked to begin side by side; once begun, any number go on.

Its server on SQLite answers a burst of new runs with 503, and a run that was asked for would not be begun.
"""

logger = logging.getLogger(__name__)

_beginning = threading.BoundedSemaphore(BEGIN_AT_ONCE)


def run_month(request: RunRequest, run_id: str, settings: Settings, orchestrator: Orchestrator) -> None:
    """Run the flow in this thread until the run `run_id` is over.

    Raises the `RiskAlertsError` that ended the run, with its `run_id` when it was begun. When Prefect fails
    in the middle, the run goes on and the ledger, which needs no Prefect, says how it ended.
    """
    refuse_unstorable(request.source_uri)
    # Whoever waits is answered with this run: with a retry (PREFECT_FLOW_DEFAULT_RETRIES) another one would
    # go on behind the answer.
    flow = monthly_risk_alerts.with_options(retries=0)
    # Before Prefect is asked for anything: without a ledger nothing can be begun.
    history = open_ledger(settings.database_url).history
    token = requested_run_id.set(run_id)
    try:
        with _turn_to_begin():
            orchestrator.run(
                lambda: flow(
                    source_uri=request.source_uri,
                    month=request.month,
                    dry_run=request.dry_run,
                    retry_unconfirmed=request.retry_unconfirmed,
                )
            )
    except PrefectFailed as failure:
        try:
            run = history.run(run_id)
        except RunNotFound:
            raise OrchestratorUnreachable(
                f"Prefect failed before the run was begun, and nothing was sent: {failure}"
            ) from failure
        if run.status is not RunStatus.SUCCEEDED:
            raise _what_ended(run) from failure
    finally:
        requested_run_id.reset(token)


class AcceptedRun:
    """A run for which nobody waits: recorded at once, begun in its turn, and alive in between."""

    def __init__(self, request: RunRequest, run_id: str, settings: Settings) -> None:
        self._request = request
        self._run_id = run_id
        self._settings = settings
        self._alive = ExitStack()

    def record(self) -> None:
        """Record the run, so that it can be asked for from now on; raises what keeps it from being recorded.

        `run` must follow.
        """
        refuse_unstorable(self._request.source_uri)
        ledger = open_ledger(self._settings.database_url)
        ledger.begin_run(self._run_id, self._request, this_process(), None, utc_now())
        # Or another host would take a run that waits long for one whose process died.
        self._alive.enter_context(kept_alive(ledger, self._run_id))

    def run(self, orchestrator: Orchestrator) -> None:
        """Run what was recorded; an error that keeps it from beginning is stored with it."""
        ledger = open_ledger(self._settings.database_url)
        with self._alive:
            try:
                run_month(self._request, self._run_id, self._settings, orchestrator)
            except RiskAlertsError as error:
                # One that ended the run itself was stored by then; nobody else would hear of the others.
                if ledger.history.run(self._run_id).status is RunStatus.RUNNING:
                    logger.error("Run %s could not begin: %s", self._run_id, error)  # noqa: TRY400
                    ledger.finish(self._run_id, error, utc_now())


@contextmanager
def _turn_to_begin() -> Iterator[None]:
    """Wait for a turn, and hand it on when the run has begun, or else at the end."""
    _beginning.acquire()
    with ExitStack() as turn:
        turn.callback(_beginning.release)
        token = when_begun.set(turn.close)
        try:
            yield
        finally:
            when_begun.reset(token)


def _what_ended(run: RunView) -> RiskAlertsError:
    error = error_of(run.error.code, run.error.message) if run.error else InternalError("The run did not end")
    error.run_id = run.run_id
    return error
