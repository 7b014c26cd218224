"""Our log lines in Prefect's log."""

import logging
from collections.abc import Iterator

import pytest
from prefect.settings import temporary_settings

from flows.flow_run import show_logs_in_ui

LOGGERS = [logging.getLogger(name) for name in ("core", "flows", "tasks")]


@pytest.fixture(autouse=True)
def _same_handlers_afterwards() -> Iterator[None]:
    before = [(logger, logger.handlers[:], logger.level) for logger in LOGGERS]
    yield
    for logger, handlers, level in before:
        logger.handlers = handlers
        logger.setLevel(level)


def test_line_outside_a_flow_run_causes_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    """A worker imports Prefect with its own defaults before our code."""
    show_logs_in_ui()
    with temporary_settings({"logging.to_api.when_missing_flow": "warn"}):
        logging.getLogger("core.run").warning("the heartbeat failed")
    assert [str(warning.message) for warning in recwarn] == []
