"""One run under way: recorded as begun before anything else, and closed whatever happens."""

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime

from core.domain import RunRequest
from core.errors import InternalError, Interrupted, LedgerError, RiskAlertsError
from core.ledger import Ledger
from core.liveness import HEARTBEAT_SECONDS, is_dead, this_process, watch_hearts
from core.logs import current_run_id
from core.progress import Progress, watched
from core.redaction import redact
from core.settings import Settings
from core.stopping import StopSignal, process_stop

requested_run_id: ContextVar[str | None] = ContextVar("requested_run_id", default=None)
"""The id under which whoever starts a run will ask for it: a flow's parameters have no place for it."""

TOLD_TO_STOP = "The run was told to stop before it was over; run the month again"

logger = logging.getLogger(__name__)


class Run:
    """What the stages of one run share; a plain class, so that Prefect does not walk through it."""

    def __init__(self, run_id: str, request: RunRequest, settings: Settings, ledger: Ledger) -> None:
        self.run_id = run_id
        self.request = request
        self.settings = settings
        self.ledger = ledger
        self.stop = StopSignal()
        self.progress = watched.get() or Progress()

    def check_stop(self) -> None:
        """Raise `Interrupted` when the run is asked to stop; for where nothing is under way."""
        if self.stop.is_set():
            raise Interrupted(TOLD_TO_STOP)


def new_run_id() -> str:
    """Give a run an id of its own."""
    return str(uuid.uuid4())


def utc_now() -> datetime:
    """Read the wall clock, with its zone."""
    return datetime.now(UTC)


@contextmanager
def open_run(
    run_id: str, request: RunRequest, settings: Settings, ledger: Ledger, flow_run_id: str | None
) -> Iterator[Run]:
    """Begin a run in the ledger, keep its heartbeat, and close it with what ended it.

    Runs whose process died are closed first. An error of ours leaves with its `run_id`; anything else that is
    raised is stored as `internal_error`, and a stop from outside as `interrupted`.
    """
    for dead in ledger.close_dead_runs(is_dead, utc_now(), watch_hearts):
        logger.warning("Closed run %s: its process died before it was over", dead)
    ledger.begin_run(run_id, request, this_process(), flow_run_id, utc_now())
    run = Run(run_id, request, settings, ledger)
    error: RiskAlertsError | None = None
    with _logged_as(run_id):
        try:
            with kept_alive(ledger, run_id), process_stop.heard_by(run.stop.set):
                yield run
        except RiskAlertsError as known:
            known.run_id = run_id
            error = known
            raise
        except Exception as defect:
            logger.exception("Run %s met a defect", run_id)
            error = InternalError(redact(f"{type(defect).__name__}: {defect}"))
            error.run_id = run_id
            raise error from defect
        except BaseException:
            # Cancellation, Ctrl-C, an exit, or a signal that Prefect turned into an exception of its own.
            error = Interrupted(TOLD_TO_STOP)
            raise
        finally:
            _finish(run, error)


def _finish(run: Run, error: RiskAlertsError | None) -> None:
    """Close the run; a ledger that can't is what ended it, unless something else has already."""
    try:
        run.ledger.finish(run.run_id, error, utc_now())
    except LedgerError as fault:
        logger.error("Run %s can't be closed yet: %s", run.run_id, fault)  # noqa: TRY400  its text says it all
        if error is None:
            fault.run_id = run.run_id
            raise


@contextmanager
def _logged_as(run_id: str) -> Iterator[None]:
    token = current_run_id.set(run_id)
    try:
        yield
    finally:
        current_run_id.reset(token)


@contextmanager
def kept_alive(ledger: Ledger, run_id: str) -> Iterator[None]:
    """Keep the heartbeat of a run that was begun."""
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT_SECONDS):
            try:
                ledger.heartbeat(run_id, utc_now())
            except LedgerError as error:
                # The stage that needs the ledger next says so; a heartbeat alone must not end a run.
                logger.warning("No heartbeat: %s", error)

    # With the ids of run and request, for its log.
    thread = threading.Thread(target=copy_context().run, args=[beat], name=f"heartbeat-{run_id}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
