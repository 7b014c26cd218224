"""Keep Prefect's log off the terminal, and show the log lines of a flow run in Prefect's UI."""

import logging

from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging.handlers import APILogHandler

from core.runtime import mask_record


def keep_prefect_quiet() -> None:
    """Send Prefect's log to its UI alone, not to the log handlers and the terminal of this process."""
    prefects = logging.getLogger("prefect")
    prefects.propagate = False
    if not prefects.handlers:
        # Without any handler Python would print warnings.
        prefects.addHandler(logging.NullHandler())
    for name in ("EventsWorker", "APILogWorker"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Prefect would print what its log worker cannot send.
    logging.raiseExceptions = False


def show_logs_in_ui() -> None:
    """Show the log lines of a flow run in the Prefect UI, with secrets masked; safe to call again."""
    handler = APILogHandler(level=logging.INFO)
    handler.addFilter(_belongs_to_flow_run)
    for logger in map(logging.getLogger, ("core", "flows", "tasks")):
        if not any(isinstance(known, APILogHandler) for known in logger.handlers):
            logger.addHandler(handler)
            logger.setLevel(logger.level or logging.INFO)
    # Prefect's own loggers show the text of an exception; Prefect may replace their handlers between runs.
    flow_runs, task_runs = map(logging.getLogger, ("prefect.flow_runs", "prefect.task_runs"))
    for known in [handler, *flow_runs.handlers, *task_runs.handlers]:
        known.addFilter(mask_record)


def _belongs_to_flow_run(_: logging.LogRecord) -> bool:
    """Return whether Prefect can assign a line that is logged now; it warns of each other line."""
    return (FlowRunContext.get() or TaskRunContext.get()) is not None
