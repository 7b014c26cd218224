"""How many runs and outcomes the ledger has of each status, as gauges for Prometheus, whoever wrote them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Connection, func, select

from core.domain import DEFAULT_ALERT_TYPE, OutcomeStatus, RunStatus
from core.ledger.statements import OUTCOMES, RUNS


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """How many runs and outcomes there are of each status, and when what happened last: None for never."""

    runs: Mapping[RunStatus, int]
    outcomes: Mapping[tuple[str, OutcomeStatus], int]
    """By alert type and status."""
    last_succeeded: datetime | None
    """When the last run that succeeded ended. Here and below no dry run counts."""
    last_failed: datetime | None
    last_month: date | None
    """The latest month that a run succeeded for."""
    running_since: datetime | None
    """When the oldest run began that is still running."""


def read_statistics(connection: Connection) -> LedgerStatistics:
    """Read the statistics: all runs, few as they are, and of the outcomes an index alone."""
    runs = dict.fromkeys(RunStatus, 0)
    for name, number in connection.execute(select(RUNS.c.status, func.count()).group_by(RUNS.c.status)):
        runs[RunStatus(name)] = number
    outcomes = {(DEFAULT_ALERT_TYPE, status): 0 for status in OutcomeStatus}
    # The index on (run_id, status, alert_type) covers it: the table itself, with its texts, is not read.
    groups = select(OUTCOMES.c.alert_type, OUTCOMES.c.status, func.count())
    for alert_type, name, number in connection.execute(
        groups.group_by(OUTCOMES.c.alert_type, OUTCOMES.c.status)
    ):
        for status in OutcomeStatus:
            outcomes.setdefault((alert_type, status), 0)
        outcomes[alert_type, OutcomeStatus(name)] = number
    instants = {
        RunStatus(row.status): row
        for row in connection.execute(
            select(
                RUNS.c.status,
                func.max(RUNS.c.finished_at).label("finished_at"),
                func.max(RUNS.c.month).label("month"),
                func.min(RUNS.c.started_at).label("started_at"),
            )
            .where(RUNS.c.dry_run.is_(False))
            .group_by(RUNS.c.status)
        )
    }
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
    """The gauges of a ledger that was read, or of one that can't be (None): then only that is shown."""

    def __init__(self, statistics: LedgerStatistics | None) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        """Yield each gauge; every status has a sample, and what never was is 0: rules can count on it."""
        found = self._statistics
        yield GaugeMetricFamily(
            "risk_alerts_ledger_up",
            "1 when the ledger could be read for this scrape, else 0.",
            found is not None,
        )
        if found is None:
            return
        runs = GaugeMetricFamily("risk_alerts_runs", "Runs in the ledger, by status.", labels=["status"])
        for run_status, number in found.runs.items():
            runs.add_metric([run_status], number)
        yield runs
        outcomes = GaugeMetricFamily(
            "risk_alerts_outcomes",
            "Alerts of all months in the ledger, by alert type and status.",
            labels=["alert_type", "status"],
        )
        for (alert_type, outcome), number in found.outcomes.items():
            outcomes.add_metric([alert_type, outcome], number)
        yield outcomes
        finished = GaugeMetricFamily(
            "risk_alerts_last_run_timestamp_seconds",
            "When the last run that was no dry run ended, by how it ended; 0 for never.",
            labels=["status"],
        )
        finished.add_metric([RunStatus.SUCCEEDED], _seconds(found.last_succeeded))
        finished.add_metric([RunStatus.FAILED], _seconds(found.last_failed))
        yield finished
        month = found.last_month
        yield GaugeMetricFamily(
            "risk_alerts_last_succeeded_month_timestamp_seconds",
            "The first day (UTC) of the latest month that a run succeeded for, no dry run; 0 for none.",
            _seconds(datetime.combine(month, time(), UTC) if month else None),
        )
        yield GaugeMetricFamily(
            "risk_alerts_running_since_timestamp_seconds",
            "When the oldest run began that is still running, no dry run; 0 when none is.",
            _seconds(found.running_since),
        )


def _seconds(instant: datetime | None) -> float:
    return instant.timestamp() if instant else 0
