"""The context of a run, before it begins and after it is closed."""

import logging
from pathlib import Path
from unittest.mock import Mock

import pytest

from core.domain import (
    InternalError,
    Interrupted,
    InvalidRequest,
    LedgerError,
    RiskAlertsError,
    RunRequest,
    SlackNotConfigured,
    SourceInvalid,
    SourceSchemeUnsupported,
)
from core.ledger import Ledger
from core.run import RunContext, open_run, prepare_run
from core.runtime import Settings
from flows.start import accept
from tests.delivery.world import MONTH


@pytest.fixture
def run(ledger: Ledger) -> RunContext:
    return RunContext("run-1", RunRequest("file:///x", MONTH), Settings(), ledger)


def prepare(source_uri: str, path: Path) -> RunContext:
    return prepare_run(RunRequest(source_uri, MONTH), Settings(database_url=f"sqlite:///{path}"))


@pytest.mark.parametrize(
    ("source_uri", "error"),
    [
        ("file:///x", None),
        # The run is stored, and fails.
        ("ftp://host/x", None),
        ("no uri", None),
        ("ftp://user:canary@host/x", SourceSchemeUnsupported),
        ("ftp://host/x?token=canary", SourceSchemeUnsupported),
        ("ftp://host/x\n", SourceSchemeUnsupported),
        ("s3://canary@bucket/x", InvalidRequest),
    ],
)
def test_only_a_uri_without_secrets_is_stored(
    path: Path, source_uri: str, error: type[Exception] | None
) -> None:
    if error is None:
        assert prepare(source_uri, path).request.source_uri == source_uri
        return
    with pytest.raises(error) as caught:
        prepare(source_uri, path)
    assert "canary" not in str(caught.value)


def test_stopped_run_is_begun_and_interrupted(run: RunContext, caplog: pytest.LogCaptureFixture) -> None:
    run.stop = True
    with pytest.raises(Interrupted, match="run the month again") as caught, open_run(run):
        pytest.fail("a stopped run goes on")
    line = f"Run run-1 failed: interrupted: {caught.value}"
    assert caplog.record_tuples == [("core.run", logging.ERROR, line)]
    assert run.ledger.history.run("run-1").status == "failed"
    assert run.closed.exception(0) is not None


@pytest.mark.parametrize(
    ("fault", "error", "announced"),
    [
        (KeyboardInterrupt(), None, Interrupted),
        (KeyboardInterrupt(), SourceInvalid("damaged"), Interrupted),
        (LedgerError("disk full"), None, LedgerError),
        (LedgerError("disk full"), SourceInvalid("damaged"), SourceInvalid),
    ],
    ids=repr,
)
def test_run_that_cannot_be_closed_has_not_succeeded(
    run: RunContext,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    error: SourceInvalid | None,
    announced: type[RiskAlertsError],
) -> None:
    """Prefect turns the SIGTERM of a cancellation into an exception, wherever the run is."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(run.ledger, "finish", Mock(side_effect=fault))
    stage = Mock(side_effect=error)
    of_the_ledger = isinstance(fault, LedgerError)
    raised = announced if of_the_ledger else KeyboardInterrupt
    with pytest.raises(raised) as caught, open_run(run):
        stage()
    assert run.ledger.history.run("run-1").status == "running"
    assert "succeeded" not in caplog.text
    assert ("Run run-1 cannot be closed yet: disk full" in caplog.text) == of_the_ledger
    found = run.closed.exception(0)
    assert isinstance(found, announced)
    assert found.run_id == "run-1"
    assert (caught.value is found) == of_the_ledger


def test_accepted_run_that_fails_is_closed_once(run: RunContext) -> None:
    accept(run)()
    assert isinstance(run.closed.exception(0), SlackNotConfigured)


def test_message_of_an_error_is_one_line() -> None:
    error = SourceInvalid("a\n04:00:00 ERROR forged \x1b[31m\u2028b")
    assert str(error) == error.message == "a 04:00:00 ERROR forged  [31m b"


def test_internal_error_shows_no_secret(run: RunContext) -> None:
    with pytest.raises(InternalError) as caught, open_run(run):
        raise ValueError("Authorization: Bearer canary")
    error = run.ledger.history.run("run-1").error
    for text in (error.message, str(caught.value)):
        assert "ValueError: Authorization: Bearer ***" in text
        assert "canary" not in text
