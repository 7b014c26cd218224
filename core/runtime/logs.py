"""The log: its destination, its format, and the filter that masks secrets."""

import json
import logging
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime

from core.runtime.redaction import mask_record
from core.runtime.settings import Settings

current_run_id: ContextVar[str | None] = ContextVar("current_run_id", default=None)
"""The run that log lines name."""

_OURS = ("api", "cli", "core", "flows", "tasks")


class _JsonFormatter(logging.Formatter):
    """One JSON object per record, with its run."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "run_id": current_run_id.get(),
        }
        if record.exc_text:  # the filter that masks secrets has written it
            entry["exception"] = record.exc_text
        return json.dumps(entry, ensure_ascii=False)


def configure_logs(settings: Settings, *, level: int = logging.INFO, taken_over: Iterable[str] = ()) -> None:
    """Send log lines to stderr in the format of `LOG_FORMAT`.

    These are the lines of this project, those of the loggers in `taken_over`, which then write nowhere else,
    and the warnings of libraries and of Python.
    """
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    handler.setFormatter(_JsonFormatter() if settings.log_format == "json" else text)
    handler.addFilter(mask_record)
    root = logging.getLogger()
    # Our handler comes first, so that any other gets records whose secrets are masked. Prefect's are removed,
    # because they print the warnings of libraries again, and as text also with `LOG_FORMAT=json`.
    others = [known for known in root.handlers if not type(known).__module__.startswith("prefect.")]
    root.handlers = [handler, *others]
    for name in (*_OURS, *taken_over):
        # The import of Prefect raises the level of uvicorn's loggers.
        logging.getLogger(name).setLevel(level)
    for name in taken_over:
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.captureWarnings(capture=True)
