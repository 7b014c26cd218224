"""The ledger statistics: runs and outcomes by status, of all processes, as gauges for Prometheus."""

from datetime import UTC, datetime, time

from prometheus_client import CollectorRegistry, Gauge
from sqlalchemy import Connection, func, select

from core.domain import DEFAULT_ALERT_TYPE, OutcomeStatus, RunStatus
from core.ledger.schema import OUTCOMES, RUNS


def ledger_gauges(connection: Connection | None) -> CollectorRegistry:
    """Return the gauges of the ledger, where 0 stands for none or never.

    Without a connection, only the gauge that shows the ledger's failure.
    """
    gauges = CollectorRegistry()
    up = _gauge(gauges, "ledger_up", "1 when the ledger could be read for this scrape, else 0.")
    up.set(connection is not None)
    if connection is not None:
        _add_runs(gauges, connection)
        _add_outcomes(gauges, connection)
    return gauges


def _gauge(gauges: CollectorRegistry, name: str, text: str, *labels: str) -> Gauge:
    return Gauge(f"risk_alerts_{name}", text, labels, registry=gauges)


def _add_runs(gauges: CollectorRegistry, connection: Connection) -> None:
    """Add the number of runs, and the times of the last events, which ignore dry runs."""
    runs = _gauge(gauges, "runs", "Runs in the ledger, by status.", "status")
    text = "When the last run that was no dry run ended, by how it ended; 0 for never."
    last_run = _gauge(gauges, "last_run_timestamp_seconds", text, "status")
    text = "The first day (UTC) of the latest month that a run succeeded for, no dry run; 0 for none."
    last_month = _gauge(gauges, "last_succeeded_month_timestamp_seconds", text)
    text = "When the oldest run began that is still running, no dry run; 0 when none is."
    running_since = _gauge(gauges, "running_since_timestamp_seconds", text)
    for status in RunStatus:
        runs.labels(status)
        if status is not RunStatus.RUNNING:
            last_run.labels(status)
    group = RUNS.c.status, RUNS.c.dry_run
    figures = func.max(RUNS.c.finished_at), func.max(RUNS.c.month), func.min(RUNS.c.started_at), func.count()
    for row in connection.execute(select(*group, *figures).group_by(*group)):
        status, dry_run, finished_at, month, started_at, number = row
        runs.labels(status).inc(number)
        if dry_run:
            continue
        if status == RunStatus.RUNNING:
            running_since.set(started_at.timestamp())
        else:
            last_run.labels(status).set(finished_at.timestamp())
        if status == RunStatus.SUCCEEDED:
            last_month.set(datetime.combine(month, time(), UTC).timestamp())


def _add_outcomes(gauges: CollectorRegistry, connection: Connection) -> None:
    text = "Alerts of all months in the ledger, by alert type and status."
    outcomes = _gauge(gauges, "outcomes", text, "alert_type", "status")
    # The index on (run_id, status, alert_type) covers this query; the table is not read.
    group = OUTCOMES.c.alert_type, OUTCOMES.c.status
    rows = connection.execute(select(*group, func.count()).group_by(*group)).all()
    for alert_type in {DEFAULT_ALERT_TYPE, *(row[0] for row in rows)}:
        for status in OutcomeStatus:
            outcomes.labels(alert_type, status)
    for alert_type, status, number in rows:
        outcomes.labels(alert_type, status).set(number)
