"""One run: what its stages share, and its life in the ledger from its beginning to its end."""

import logging
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core.domain import (
    Assessment,
    InternalError,
    Interrupted,
    LedgerError,
    RiskAlertsError,
    RoutedAlert,
    RunRequest,
    SourceSchemeUnsupported,
)
from core.ledger import Ledger, is_dead, kept_alive, open_ledger, this_process, wait_for_heartbeats
from core.runtime import Progress, Settings, StopSignal, count_rows_scanned, logged_as, process_stop, redact
from core.sources import parse_source

TOLD_TO_STOP = "The run was told to stop before it was over; run the month again"

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class RunContext:
    """What the stages of one run share; made by whoever starts the run."""

    run_id: str
    request: RunRequest
    settings: Settings
    ledger: Ledger
    flow_run_id: str | None = None
    """The flow run of Prefect's engine; None when the run goes on without Prefect."""
    progress: Progress = field(default_factory=Progress)
    stop: StopSignal = field(default_factory=StopSignal)
    begun: "Future[None]" = field(default_factory=Future)
    """Done once Prefect has begun the flow, canceled when whoever waits has given that up."""
    closed: "Future[None]" = field(default_factory=Future)
    """Done once the ledger has closed the run, or has failed to."""
    error: RiskAlertsError | None = None
    """What ended the run."""

    def kept_alive(self) -> AbstractContextManager[None]:
        """Keep the heartbeat of the run, which was begun, while the context lasts."""
        return kept_alive(self.run_id, lambda: self.ledger.heartbeat(self.run_id, utc_now()))

    def fail(self, error: RiskAlertsError) -> RiskAlertsError:
        """Note and return what ended the run."""
        error.run_id = self.run_id
        self.error = error
        return error

    def check_stop(self) -> None:
        """Raise `Interrupted` when the run is asked to stop; for where nothing is under way."""
        if self.stop.is_set():
            raise Interrupted(TOLD_TO_STOP)

    def plan(self, assessment: Assessment, routed: Iterable[RoutedAlert]) -> list[RoutedAlert]:
        """Record what the run will do with each alert, and return those that it may send: none in a dry run.

        Raises `TooManyAlerts` when there are more than `MAX_ALERTS_PER_RUN`.
        """
        count_rows_scanned(assessment.scan.rows_scanned)
        limit = self.settings.max_alerts_per_run
        to_send = self.ledger.plan(self.run_id, assessment, routed, limit, utc_now())
        self.progress.planned(assessment.scan.rows_scanned, to_send)
        return to_send


def prepare_run(request: RunRequest, settings: Settings, run_id: str | None = None) -> RunContext:
    """Return the context of a run that can begin.

    Raises before the ledger or Prefect keeps a URI that may carry a secret, or that names nothing at all. A
    URI whose scheme is merely not supported is a run that fails, as with any other bad source.
    """
    try:
        parse_source(request.source_uri)
    except SourceSchemeUnsupported:
        if "@" in request.source_uri or "?" in request.source_uri or not request.source_uri.isprintable():
            raise
    return RunContext(run_id or new_run_id(), request, settings, open_ledger(settings.database_url))


def new_run_id() -> str:
    """Return an id for a new run."""
    return str(uuid.uuid4())


def utc_now() -> datetime:
    """Read the wall clock, with its zone."""
    return datetime.now(UTC)


@contextmanager
def open_run(run: RunContext) -> Iterator[RunContext]:
    """Begin a run in the ledger, keep its heartbeat, and close it with what ended it.

    Runs whose process died are closed first. A defect is stored as `internal_error`, and a stop from outside
    as `interrupted`.
    """
    for dead in run.ledger.close_dead_runs(is_dead, utc_now(), wait_for_heartbeats):
        logger.warning("Closed run %s: its process died before it was over", dead)
    run.ledger.begin_run(run.run_id, run.request, this_process(), run.flow_run_id, utc_now())
    with logged_as(run.run_id):
        try:
            with run.kept_alive(), process_stop.heard_by(run.stop.set):
                run.check_stop()
                yield run
        except RiskAlertsError as known:
            run.fail(known)
            raise
        except Exception as defect:
            logger.exception("Run %s met a defect", run.run_id)
            raise run.fail(InternalError(redact(f"{type(defect).__name__}: {defect}"))) from defect
        except BaseException:
            # Cancellation, Ctrl-C, an exit, or a signal that Prefect turned into an exception of its own.
            run.fail(Interrupted(TOLD_TO_STOP))
            raise
        finally:
            _close(run)


def _close(run: RunContext) -> None:
    """Close the run; a ledger that cannot is what ended it, unless something else has already."""
    try:
        run.ledger.finish(run.run_id, run.error, utc_now())
    except LedgerError as fault:
        logger.error("Run %s can't be closed yet: %s", run.run_id, fault)  # noqa: TRY400  its text says it all
        if run.error is None:
            run.fail(fault)
            raise
    finally:
        run.closed.set_result(None)
