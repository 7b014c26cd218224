"""How the ledger stands now, and its gauges for Prometheus: what all processes on it did, whenever."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func
from sqlmodel import Session, col, select

from core.domain import OutcomeStatus, RunStatus
from core.tables import OutcomeRow, RunRow


@dataclass(frozen=True, slots=True)
class Standing:
    """How many runs and outcomes there are of each status, and when what happened last: None for never."""

    runs: Mapping[RunStatus, int]
    outcomes: Mapping[OutcomeStatus, int]
    last_succeeded: datetime | None
    """When the last run that succeeded ended. Here and below no dry run counts."""
    last_failed: datetime | None
    last_month: date | None
    """The latest month that a run succeeded for."""
    running_since: datetime | None
    """When the oldest run began that is still running."""


def read_standing(session: Session) -> Standing:
    """Read it: the runs, few as they are, and of the outcomes an index alone."""
    runs = dict.fromkeys(RunStatus, 0)
    for name, number in session.exec(select(RunRow.status, func.count()).group_by(RunRow.status)):
        runs[RunStatus(name)] = number
    outcomes = dict.fromkeys(OutcomeStatus, 0)
    # The index on (run_id, status) covers it: the table itself, with its texts, is not read.
    for name, number in session.exec(select(OutcomeRow.status, func.count()).group_by(OutcomeRow.status)):
        outcomes[OutcomeStatus(name)] = number
    instants = {
        RunStatus(name): (finished_at, month, started_at)
        for name, finished_at, month, started_at in session.exec(
            select(
                RunRow.status,
                func.max(RunRow.finished_at),
                func.max(RunRow.month),
                func.min(RunRow.started_at),
            )
            .where(col(RunRow.dry_run).is_(False))
            .group_by(RunRow.status)
        )
    }
    nothing = (None, None, None)
    return Standing(
        runs,
        outcomes,
        last_succeeded=instants.get(RunStatus.SUCCEEDED, nothing)[0],
        last_failed=instants.get(RunStatus.FAILED, nothing)[0],
        last_month=instants.get(RunStatus.SUCCEEDED, nothing)[1],
        running_since=instants.get(RunStatus.RUNNING, nothing)[2],
    )


class StandingCollector(Collector):
    """The gauges of a ledger that was read, or of one that can't be (None): then only that is said."""

    def __init__(self, standing: Standing | None) -> None:
        self._standing = standing

    def collect(self) -> Iterator[Metric]:
        """Give each gauge; every status has a sample, and what never was is 0: rules can count on it."""
        standing = self._standing
        yield GaugeMetricFamily(
            "risk_alerts_ledger_up",
            "1 when the ledger could be read for this scrape, else 0.",
            standing is not None,
        )
        if standing is None:
            return
        runs = GaugeMetricFamily("risk_alerts_runs", "Runs in the ledger, by status.", labels=["status"])
        for run_status, number in standing.runs.items():
            runs.add_metric([run_status], number)
        yield runs
        outcomes = GaugeMetricFamily(
            "risk_alerts_outcomes",
            "Alerts of all months in the ledger, by what became of them so far.",
            labels=["status"],
        )
        for outcome, number in standing.outcomes.items():
            outcomes.add_metric([outcome], number)
        yield outcomes
        finished = GaugeMetricFamily(
            "risk_alerts_last_run_timestamp_seconds",
            "When the last run that was no dry run ended, by how it ended; 0 for never.",
            labels=["status"],
        )
        finished.add_metric([RunStatus.SUCCEEDED], _seconds(standing.last_succeeded))
        finished.add_metric([RunStatus.FAILED], _seconds(standing.last_failed))
        yield finished
        month = standing.last_month
        yield GaugeMetricFamily(
            "risk_alerts_last_succeeded_month_timestamp_seconds",
            "The first day (UTC) of the latest month that a run succeeded for, no dry run; 0 for none.",
            _seconds(datetime.combine(month, time(), UTC) if month else None),
        )
        yield GaugeMetricFamily(
            "risk_alerts_running_since_timestamp_seconds",
            "When the oldest run began that is still running, no dry run; 0 when none is.",
            _seconds(standing.running_since),
        )


def _seconds(instant: datetime | None) -> float:
    return instant.timestamp() if instant else 0
