"""The log has one format, and one filter that masks every line."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextvars import Context

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from core.runtime import Settings, configure_logs, current_run_id, redaction

SECRET = "canary-of-the-log"


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Yield the JSON log."""
    libraries = [logging.getLogger(name) for name in ("gcsfs.retry", "gcsfs", "botocore")]
    for library in libraries:
        # Another test may have silenced the libraries of the stores.
        monkeypatch.setattr(library, "level", logging.NOTSET)
    monkeypatch.setattr(redaction, "_secrets", {SECRET})
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    configure_logs(Settings(log_format="json"))
    yield written
    logging.captureWarnings(capture=False)


def lines(log: io.StringIO) -> list[dict[str, str]]:
    """Return the lines, each parsed as one JSON object."""
    return [json.loads(line) for line in log.getvalue().splitlines()]


def test_warning_of_a_library_is_one_masked_object(log: io.StringIO) -> None:
    logging.getLogger("gcsfs.retry").warning("refused: %s\nsecond line ë", SECRET)
    assert [(line["logger"], line["level"]) for line in lines(log)] == [("gcsfs.retry", "warning")]
    assert lines(log)[0]["time"].endswith("+00:00")
    assert "second line ë" in log.getvalue()
    assert SECRET not in log.getvalue()


def test_malformed_line_of_a_library_raises_nothing(log: io.StringIO) -> None:
    """The library is at work for a run, which must not fail because of it."""
    logging.getLogger("botocore").warning("%d rows", SECRET)
    assert [line["message"] for line in lines(log)] == ["%d rows"]


def test_python_warnings_are_logged(log: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr("sys.stderr", log)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        configure_logs(Settings(log_format="json"))
        warnings.warn(f"deprecated by {SECRET}", stacklevel=1)
    assert [line["logger"] for line in lines(log)] == ["py.warnings"]
    assert SECRET not in log.getvalue()


def test_traceback_is_masked_within_its_object(log: io.StringIO) -> None:
    try:
        {}[SECRET]
    except KeyError:
        logging.getLogger("tasks.send").exception("a defect")
    (line,) = lines(log)
    assert "KeyError" in line["exception"]
    assert SECRET not in log.getvalue()


def test_line_names_its_run(log: io.StringIO) -> None:
    def write() -> None:
        logger = logging.getLogger("core.run")
        logger.info("before")
        current_run_id.set("run-1")
        logger.info("within")

    Context().run(write)
    assert [line["run_id"] for line in lines(log)] == [None, "run-1"]
    assert not any("exception" in line for line in lines(log))


def test_handlers_of_other_programs_are_kept_except_prefects(monkeypatch: pytest.MonkeyPatch) -> None:
    other = logging.NullHandler()
    monkeypatch.setattr(logging.getLogger(), "handlers", [PrefectConsoleHandler(), other])
    configure_logs(Settings())
    assert logging.getLogger().handlers[1:] == [other]


def test_line_of_another_handler_is_masked(log: io.StringIO) -> None:
    """A record from a queue has its traceback as text already."""
    kept = {"exc_text": f"ValueError: {SECRET}", "stack_info": f"Stack of {SECRET}"}
    record = logging.makeLogRecord({"name": "gcsfs", "levelno": logging.ERROR, "msg": "x", **kept})
    logging.getLogger().handle(record)
    assert len(lines(log)) == 1
    assert SECRET not in log.getvalue() + str(record.exc_text) + str(record.stack_info)
