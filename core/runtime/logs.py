"""Where our log lines go and how they look; secrets are masked on the way."""

import json
import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

from core.runtime.redaction import RedactingFilter
from core.runtime.settings import Settings

current_run_id: ContextVar[str | None] = ContextVar("current_run_id", default=None)
"""The run that a log line belongs to."""

current_request_id: ContextVar[str | None] = ContextVar("current_request_id", default=None)
"""The request to the API that a log line belongs to."""

OUR_LOGGERS = ("api", "cli", "core", "flows", "tasks")


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at that moment: a progress line on a terminal puts itself in its place."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    @property
    def stream(self) -> TextIO:
        """Give today's stderr."""
        return sys.stderr

    @stream.setter
    def stream(self, stream: TextIO) -> None:
        """Take no other: the base class sets the one that it was made with."""


class TextFormatter(logging.Formatter):
    """One line a record: when, how grave, what, and for which request."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the base class's name
        """Write the line, and of a request to the API its id."""
        request_id = current_request_id.get()
        return super().formatMessage(record) + (f" [{request_id}]" if request_id else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the run and the request that it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the record as JSON."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "run_id": current_run_id.get(),
        }
        if request_id := current_request_id.get():
            entry["request_id"] = request_id
        if record.exc_info or record.exc_text:
            entry["exception"] = record.exc_text or self.formatException(
                record.exc_info or (None, None, None)
            )
        return json.dumps(entry, ensure_ascii=False)


@contextmanager
def logged_for(request_id: str | None) -> Iterator[None]:
    """Have log lines name the request that this work is done for, in a thread that does work for many."""
    token = current_request_id.set(request_id)
    try:
        yield
    finally:
        current_request_id.reset(token)


@contextmanager
def logged_as(run_id: str) -> Iterator[None]:
    """Have log lines name the run."""
    token = current_run_id.set(run_id)
    try:
        yield
    finally:
        current_run_id.reset(token)


def configure_logs(
    settings: Settings,
    *,
    level: int = logging.INFO,
    stream: TextIO | None = None,
    taken_over: Iterable[str] = (),
) -> None:
    """Send our own log lines to `stream` (stderr), in the format that is set; safe to call again.

    So go the lines of the loggers that are `taken_over`, in place of where they went before, and what
    libraries warn of.
    """
    handler = logging.StreamHandler(stream) if stream else StderrHandler()
    handler.setFormatter(JsonFormatter() if settings.log_format == "json" else TextFormatter())
    handler.addFilter(RedactingFilter())
    handler.set_name("account-risk-alerts")
    for name in OUR_LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(level)
        # Prefect's handlers sit on these loggers too; only ours is replaced.
        logger.handlers = [known for known in logger.handlers if known.get_name() != handler.get_name()]
        logger.addHandler(handler)
        logger.propagate = False
    for name in taken_over:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)  # Prefect, when it is imported, turns uvicorn's down
        logger.propagate = False
    # Python's own warnings are lines of a log too.
    logging.captureWarnings(capture=True)
    root = logging.getLogger()
    # Prefect prints there what any library warns of: as text whatever the format, and with its secrets.
    root.handlers = [
        known
        for known in root.handlers
        if known.get_name() != handler.get_name() and not type(known).__module__.startswith("prefect.")
    ]
    root.addHandler(handler)
    # These print whole URLs, and a webhook's URL is a secret.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
