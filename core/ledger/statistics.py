"""The ledger statistics: runs and outcomes by status, of all processes, as gauges for Prometheus."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select

from core.domain import DEFAULT_ALERT_TYPE, OutcomeStatus, RunStatus
from core.ledger.statements import OUTCOMES, RUNS


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """The number of runs and outcomes by status, and the last events (None for never)."""

    runs: Mapping[RunStatus, int]
    outcomes: Mapping[tuple[str, OutcomeStatus], int]
    """By alert type and status."""
    last_succeeded: datetime | None
    """The end of the last successful run. This and the next fields ignore dry runs."""
    last_failed: datetime | None
    last_month: date | None
    """The latest month of a successful run."""
    running_since: datetime | None
    """The start of the oldest run that is still running."""


def read_statistics(connection: Connection) -> LedgerStatistics:
    """Read the statistics from all runs, and from an index of the outcomes."""
    runs = dict.fromkeys(RunStatus, 0)
    for name, number in connection.execute(select(RUNS.c.status, func.count()).group_by(RUNS.c.status)):
        runs[RunStatus(name)] = number
    outcomes = {(DEFAULT_ALERT_TYPE, status): 0 for status in OutcomeStatus}
    # The index on (run_id, status, alert_type) covers this query; the table is not read.
    kind, state = OUTCOMES.c.alert_type, OUTCOMES.c.status
    for alert_type, name, number in connection.execute(
        select(kind, state, func.count()).group_by(kind, state)
    ):
        for status in OutcomeStatus:
            outcomes.setdefault((alert_type, status), 0)
        outcomes[alert_type, OutcomeStatus(name)] = number
    last = select(
        RUNS.c.status,
        func.max(RUNS.c.finished_at).label("finished_at"),
        func.max(RUNS.c.month).label("month"),
        func.min(RUNS.c.started_at).label("started_at"),
    )
    query = last.where(RUNS.c.dry_run.is_(False)).group_by(RUNS.c.status)
    instants = {RunStatus(row.status): row for row in connection.execute(query)}
    succeeded, failed, running = (
        instants.get(status) for status in (RunStatus.SUCCEEDED, RunStatus.FAILED, RunStatus.RUNNING)
    )
    return LedgerStatistics(
        runs,
        outcomes,
        last_succeeded=succeeded and succeeded.finished_at,
        last_failed=failed and failed.finished_at,
        last_month=succeeded and succeeded.month,
        running_since=running and running.started_at,
    )


class LedgerCollector(Collector):
    """The gauges of the ledger; without statistics (None), the one gauge that shows the ledger's failure."""

    def __init__(self, statistics: LedgerStatistics | None) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """Yield each gauge with a sample of every status; 0 stands for none or never."""
        found = self._statistics
        up = {(): float(found is not None)}
        yield _gauge("risk_alerts_ledger_up", "1 when the ledger could be read for this scrape, else 0.", up)
        if found is None:
            return
        runs = {(status,): number for status, number in found.runs.items()}
        yield _gauge("risk_alerts_runs", "Runs in the ledger, by status.", runs, "status")
        yield _gauge(
            "risk_alerts_outcomes",
            "Alerts of all months in the ledger, by alert type and status.",
            found.outcomes,
            "alert_type",
            "status",
        )
        finished = {RunStatus.SUCCEEDED: found.last_succeeded, RunStatus.FAILED: found.last_failed}
        yield _gauge(
            "risk_alerts_last_run_timestamp_seconds",
            "When the last run that was no dry run ended, by how it ended; 0 for never.",
            {(status,): _seconds(instant) for status, instant in finished.items()},
            "status",
        )
        month = found.last_month
        yield _gauge(
            "risk_alerts_last_succeeded_month_timestamp_seconds",
            "The first day (UTC) of the latest month that a run succeeded for, no dry run; 0 for none.",
            {(): _seconds(datetime.combine(month, time(), UTC) if month else None)},
        )
        yield _gauge(
            "risk_alerts_running_since_timestamp_seconds",
            "When the oldest run began that is still running, no dry run; 0 when none is.",
            {(): _seconds(found.running_since)},
        )


def _gauge(name: str, text: str, samples: Mapping[Any, float], *labels: str) -> Metric:
    """Return a gauge with a number for each tuple of label values."""
    gauge = GaugeMetricFamily(name, text, labels=labels)
    for values, number in samples.items():
        gauge.add_metric(values, number)
    return gauge


def _seconds(instant: datetime | None) -> float:
    return instant.timestamp() if instant else 0
