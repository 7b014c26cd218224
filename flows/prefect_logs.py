"""Prefect's log stays off our terminal, and our log lines of a flow run show in Prefect's UI."""

import logging

from prefect.logging.handlers import APILogHandler

from core.runtime import RedactingFilter


def keep_prefect_quiet() -> None:
    """Keep Prefect's log off our handlers and our terminal; its UI gets it all the same."""
    prefects = logging.getLogger("prefect")
    prefects.propagate = False
    if not prefects.handlers:
        # Without any handler Python would print warnings by itself.
        prefects.addHandler(logging.NullHandler())
    for name in ("EventsWorker", "APILogWorker"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Prefect would print what its log worker cannot send.
    logging.raiseExceptions = False


def show_logs_in_ui() -> None:
    """Show what our loggers say during a flow run in the Prefect UI, with secrets masked; repeatable."""
    handler = APILogHandler(level=logging.INFO)
    for logger in map(logging.getLogger, ("core", "flows", "tasks")):
        if not any(isinstance(known, APILogHandler) for known in logger.handlers):
            logger.addHandler(handler)
            logger.setLevel(logger.level or logging.INFO)
    # The text of an exception passes through Prefect's own loggers, whose handlers a new set-up replaces.
    flow_runs, task_runs = map(logging.getLogger, ("prefect.flow_runs", "prefect.task_runs"))
    for known in [handler, *flow_runs.handlers, *task_runs.handlers]:
        if not any(isinstance(mask, RedactingFilter) for mask in known.filters):
            known.addFilter(RedactingFilter())
