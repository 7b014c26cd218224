"""Helpers of the tests of delivery and ledger: alerts, runs, and queries of the database."""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from core.alerts import Assessment
from core.domain import (
    DEFAULT_ALERT_TYPE,
    Alert,
    AlertKey,
    AlertStatus,
    Delivery,
    Interrupted,
    RunRequest,
    RunStatus,
    count_found,
)
from core.ledger import Ledger, OutcomeView, RunView, liveness, this_process
from core.ledger.database import Database
from core.ledger.liveness import ProcessIdentity
from core.ledger.schema import NOTIFICATIONS
from core.run import RunContext, open_run, utc_now
from core.runtime import Settings
from tasks.send import send
from tests.waiting import HANG_SECONDS, until

T = TypeVar("T")

MONTH = date(2026, 1, 1)
OTHER_MONTH = date(2025, 12, 1)
REQUEST = RunRequest("file:///source.parquet", MONTH)
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ME = ProcessIdentity("here", 1, "now")
GONE = replace(this_process(), process_started="long ago")
NOTIFY = insert(NOTIFICATIONS).values(month=MONTH, address="a@b", digest="of a list", run_id="run-1")
NOTIFIED = select(NOTIFICATIONS.c.address)
"""A small write, and its read."""


def at(minute: int) -> datetime:
    return NOW + timedelta(minutes=minute)


def key(account_id: str, alert_type: str = DEFAULT_ALERT_TYPE) -> AlertKey:
    return AlertKey(account_id, alert_type)


def routed(account_id: str, channel: str | None = "amer", alert_type: str = DEFAULT_ALERT_TYPE) -> Alert:
    """Return an alert that goes to a channel, or to none."""
    name = f"Name of {account_id}"
    facts = (account_id, name, "AMER", 50_000, None, "Zoë", 2, OTHER_MONTH, alert_type)
    return Alert(*facts, channel)


def sent(account_id: str, alert_type: str = DEFAULT_ALERT_TYPE) -> Delivery:
    """Return the result of an alert that Slack accepted."""
    return Delivery(*key(account_id, alert_type), AlertStatus.SENT, "amer", attempts=1, sent_at=NOW)


def failed(account_id: str) -> Delivery:
    """Return the result of an alert that Slack answered with 500."""
    return Delivery(*key(account_id), AlertStatus.FAILED, "amer", "server_error", "Slack answered 500")


def assessment(alerts: Sequence[Alert], below_threshold: int = 2) -> Assessment:
    """Return the assessment of these alerts, with `below_threshold` more accounts of each type."""
    numbers = Counter(item.alert_type for item in alerts)
    numbers[DEFAULT_ALERT_TYPE] += 0
    found = {name: (number + below_threshold, below_threshold) for name, number in numbers.items()}
    return Assessment("version-1", count_found(100, 3, found), (), alerts)


def open_at(path: Path) -> Ledger:
    """Open a ledger apart from those of the process."""
    return Ledger(Database(f"sqlite:///{path}"))


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        open_at(path).close()
        return path.read_bytes()


@contextmanager
def new_ledger(path: Path) -> Iterator[Ledger]:
    """Yield an empty ledger at the path, copied from one that was created once."""
    path.write_bytes(_empty())
    opened = open_at(path)
    yield opened
    opened.close()


def begin(
    ledger: Ledger,
    run_id: str,
    alerts: Sequence[Alert] = (),
    *,
    owner: ProcessIdentity = ME,
    month: date = MONTH,
    dry_run: bool = False,
    retry_unconfirmed: bool = False,
) -> list[Alert]:
    """Begin and plan a run; return the alerts to send."""
    request = RunRequest("file:///source.parquet", month, dry_run, retry_unconfirmed)
    ledger.begin_run(run_id, request, owner, None, NOW)
    return ledger.plan(run_id, assessment(alerts), alerts, 0, NOW)


def record(ledger: Ledger, run_id: str, answers: Mapping[Alert, Delivery | None], **options: Any) -> None:
    """Run a month whose alerts get these answers; an alert without one becomes unconfirmed."""
    for alert in begin(ledger, run_id, list(answers), **options):
        assert ledger.claim(run_id, alert, NOW).status is AlertStatus.SENDING
        if answer := answers[alert]:
            ledger.record_answer(run_id, answer, NOW)
    ledger.finish(run_id, None, NOW)


def leave_unconfirmed(ledger: Ledger, run_id: str, *alerts: Alert, **options: Any) -> None:
    """Close a run after it claimed these alerts."""
    record(ledger, run_id, dict.fromkeys(alerts), **options)


def begin_retry(ledger: Ledger, run_id: str) -> Alert:
    """Begin a run that sends an unconfirmed alert of an earlier run again; return the alert."""
    alert = routed("A-1")
    leave_unconfirmed(ledger, "first", alert)
    begin(ledger, run_id, [alert], retry_unconfirmed=True)
    return alert


def close_as_dead(ledger: Ledger, *owners: ProcessIdentity) -> list[str]:
    """Close the running runs of these processes, by default of all, as dead; return their ids."""
    running = {run.run_id for run in ledger.history.runs(status=RunStatus.RUNNING).runs}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liveness, "is_dead", lambda owner, *_: not owners or owner in owners)
        patch.setattr(liveness, "wait_for_heartbeats", list)
        ledger.close_dead_runs(NOW)
    return sorted(running - {run.run_id for run in ledger.history.runs(status=RunStatus.RUNNING).runs})


def settings(url: str, ledger: Path | str, **values: Any) -> Settings:
    """Return settings for a mock Slack without waits; the ledger is given by its file or URL."""
    quick: dict[str, Any] = {
        "slack_webhook_base_url": url,
        "database_url": ledger if isinstance(ledger, str) else f"sqlite:///{ledger}",
        "slack_channel_rate": 0,
        "slack_backoff_seconds": 0.01,
        "slack_timeout_seconds": 20,
        "slack_max_attempts": 3,
    }
    return Settings(**quick | values)


@dataclass
class Delivered:
    """A finished run: its view, and its alerts by account ID."""

    view: RunView
    statuses: dict[str, AlertStatus]
    reasons: dict[str, str | None]

    @property
    def error(self) -> str | None:
        """Return the code of the run's error."""
        return self.view.error.code if self.view.error else None


async def send_in_a_run(run: RunContext, alerts: Sequence[Alert]) -> None:
    """Plan the alerts, and run the stage `send` without Prefect."""
    with open_run(run):
        await send.fn(run, run.ledger.plan(run.run_id, assessment(alerts), alerts, 0, utc_now()))


def deliver(
    ledger: Ledger, alerts: Sequence[Alert], chosen: Settings, run_id: str = "", **request: Any
) -> Delivered:
    """Send alerts in a new run; return it when it has ended."""
    run_id = run_id or str(uuid4())
    asked = replace(REQUEST, **request)
    asyncio.run(send_in_a_run(RunContext(run_id, asked, chosen, ledger), alerts))
    return look(ledger, run_id)


def stop_when(happens: Callable[[], bool], run: RunContext, alerts: Sequence[Alert]) -> None:
    """Cancel the run when the condition is true, and wait for its end."""

    async def cancel() -> None:
        task = asyncio.create_task(send_in_a_run(run, alerts))
        await asyncio.to_thread(until, happens)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as canceled:
            await task
        assert isinstance(canceled.value.__cause__, Interrupted)

    asyncio.run(cancel())


def look(ledger: Ledger, run_id: str) -> Delivered:
    """Return a finished run; assert that it adds up."""
    view = ledger.history.run(run_id)
    assert_adds_up(view)
    assert view.status != "running"
    alerts = ledger.history.alerts(run_id).alerts
    statuses = {one.account_id: one.status for one in alerts}
    return Delivered(view, statuses, {one.account_id: one.reason for one in alerts})


def outcome_of(ledger: Ledger, alert: AlertKey) -> OutcomeView:
    return ledger.history.outcomes_of(MONTH, [alert])[alert]


def assert_adds_up(view: RunView) -> None:
    """Assert the contract's sum for the run and for each alert type."""
    for counts in (view.counts, *view.counts_by_type.values()):
        found = sum(getattr(counts, name) for name in {"at_risk", "recovered", *view.counts_by_type})
        assert found == counts.below_threshold + (
            counts.alerts_sent + counts.skipped_replay + counts.failed_deliveries + counts.would_send
        )
        assert counts.unconfirmed + counts.unknown_region <= counts.failed_deliveries
        assert counts.model_dump().keys() == view.counts.model_dump().keys()


def query(path: Path, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Query the database file directly."""
    connection = sqlite3.connect(path, timeout=HANG_SECONDS)
    try:
        return connection.execute(sql, parameters).fetchall()
    finally:
        connection.close()


def execute(path: Path, script: str) -> None:
    """Change the database file directly."""
    connection = sqlite3.connect(path, timeout=HANG_SECONDS)
    try:
        connection.executescript(script)
    finally:
        connection.close()


END_OF_RUN = "UPDATE ON runs WHEN NEW.status <> 'running'"
"""The write that closes a run, for `failing`."""


@contextmanager
def failing(path: Path, write: str) -> Iterator[None]:
    """Make the database refuse a kind of write, given in SQL, while the block runs."""
    name = f"broken_{uuid4().hex}"
    execute(path, f"CREATE TRIGGER {name} BEFORE {write} BEGIN SELECT RAISE(ABORT, 'disk on fire'); END")
    yield
    execute(path, f"DROP TRIGGER {name}")


def at_once(*calls: Callable[[], T]) -> list[T]:
    """Call the functions at the same time, each in a thread of its own; return their results."""
    start = Barrier(len(calls))

    def call(function: Callable[[], T]) -> T:
        start.wait()
        return function()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(call, calls))


def outcomes(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return the recorded status and reason of each account of the month."""
    rows = query(
        path, "SELECT account_id, status, reason FROM alert_outcomes WHERE month = ?", MONTH.isoformat()
    )
    assert len(rows) == len({row[0] for row in rows})
    return {account_id: (status, reason) for account_id, status, reason in rows}


def accounts(texts: Iterable[str]) -> list[str]:
    """Return the account ids that messages name in their first line."""
    return [text.splitlines()[0].rpartition("(")[2].removesuffix(")") for text in texts]


def assert_pages(
    page: Callable[[int | None, str | None], tuple[list[Any], str | None]], expected: list[Any]
) -> None:
    """Assert that the pages of any size are the whole list."""
    assert page(None, None) == (expected, None)
    for limit in range(1, len(expected) + 2):
        seen: list[Any] = []
        cursor = None
        while True:
            items, cursor = page(limit, cursor)
            seen += items
            assert len(items) == limit or cursor is None
            assert len(seen) <= len(expected)
            if cursor is None:
                break
        assert seen == expected
