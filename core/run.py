"""One run: the context that its stages share, and its record in the ledger from begin to close."""

import logging
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from core import domain
from core.ledger import Ledger, kept_alive, open_ledger, this_process
from core.runtime import Settings, current_run_id, process_stop, redact
from core.sources import parse_source

STOPPED = "The run was stopped before it was over; run the month again"

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class RunContext:
    """The context that the stages of one run share; the caller of the run creates it."""

    run_id: str
    request: domain.RunRequest
    settings: Settings
    ledger: Ledger
    flow_run_id: str | None = None
    """The flow run of Prefect's engine; None for a run without Prefect."""
    stop: bool = False
    """Stops only this run; `stop_requested` is also true when the whole process stops."""
    closed: "Future[None]" = field(default_factory=Future)
    """Done when the ledger has closed the run or could not close it; its exception is the run's error."""

    def begin(self) -> None:
        """Record the run with its process; add the flow run to a run that was accepted before."""
        self.ledger.begin_run(self.run_id, self.request, this_process(), self.flow_run_id, utc_now())

    def kept_alive(self) -> AbstractContextManager[None]:
        """Write the heartbeat of the begun run while the context lasts."""
        return kept_alive(self.run_id, lambda: self.ledger.heartbeat(self.run_id, utc_now()))

    @property
    def stop_requested(self) -> bool:
        """Return whether a stop was requested, so that the run begins nothing new."""
        return self.stop or process_stop.requested

    def check_stop(self) -> None:
        """Raise `Interrupted` if a stop was requested; call it only when no request is in flight."""
        if self.stop_requested:
            raise domain.Interrupted(STOPPED)


def prepare_run(request: domain.RunRequest, settings: Settings) -> RunContext:
    """Return the context of a run that can begin; raise `LedgerError` when the ledger cannot be opened.

    Raises an error for a URI that is malformed or may hold a secret, before the ledger and Prefect store it.
    Any other URI with an unsupported scheme is accepted here, and its run fails.
    """
    try:
        parse_source(request.source_uri)
    except domain.SourceSchemeUnsupported:
        if "@" in request.source_uri or "?" in request.source_uri or not request.source_uri.isprintable():
            raise
    return RunContext(str(uuid.uuid4()), request, settings, open_ledger(settings.database_url))


def utc_now() -> datetime:
    """Return the current time, with its zone."""
    return datetime.now(UTC)


@contextmanager
def open_run(run: RunContext) -> Iterator[RunContext]:
    """Begin a run in the ledger, write its heartbeat, and close it with its error, if any.

    Runs whose process died are closed first. An unexpected error is stored as `internal_error`, and a stop
    from outside as `interrupted`.
    """
    run.ledger.close_dead_runs(utc_now(), None if run.request.dry_run else run.request.month)
    run.begin()
    error: domain.RiskAlertsError | None = None
    # Log lines show this ID. Each run has its own asyncio task, and so its own context.
    current_run_id.set(run.run_id)
    logger.info("Run %s of %s begins", run.run_id, run.request.month)
    try:
        with run.kept_alive():
            run.check_stop()
            yield run
    except domain.RiskAlertsError as known:
        error = known
        raise
    except Exception as defect:
        error = known_error(run, defect)
        raise error from defect
    except BaseException:
        # A cancellation, Ctrl-C, an exit, or a signal that Prefect turned into an exception.
        error = domain.Interrupted(STOPPED)
        raise
    finally:
        close_run(run, error)


def known_error(run: RunContext, error: Exception) -> domain.RiskAlertsError:
    """Return the error with which to close the run; log the traceback of one that has no code."""
    if isinstance(error, domain.RiskAlertsError):
        return error
    logger.error("Run %s has an internal error", run.run_id, exc_info=error)
    return domain.InternalError(redact(f"{type(error).__name__}: {error}"))


def close_run(run: RunContext, error: domain.RiskAlertsError | None) -> None:
    """Close the run; an error of the ledger becomes the run's error, unless it has one."""
    try:
        run.ledger.finish(run.run_id, error, utc_now())
    except domain.LedgerError as fault:
        logger.error("Run %s cannot be closed yet: %s", run.run_id, fault)
        _announce_end(run, error or fault)
        if error is None:
            raise
    except BaseException:
        # A signal that Prefect turned into an exception: the end is probably not recorded.
        _announce_end(run, domain.Interrupted(STOPPED))
        raise
    else:
        _announce_end(run, error)


def _announce_end(run: RunContext, error: domain.RiskAlertsError | None) -> None:
    """Log the end of the run, and complete `closed`, for which a caller may wait."""
    if error:
        logger.error("Run %s failed: %s: %s", run.run_id, error.code, error)
        error.run_id = run.run_id
        run.closed.set_exception(error)
    else:
        logger.info("Run %s succeeded", run.run_id)
        run.closed.set_result(None)
