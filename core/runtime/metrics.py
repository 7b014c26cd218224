"""What this process counts and times of its runs, as Prometheus instruments that start at zero.

What must survive a restart, or comes from batch jobs on the same ledger, is in `core/ledger/statistics.py`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from core.domain import METRIC_LABELS

PROCESS = CollectorRegistry(auto_describe=True)
"""Not the library's default registry, to which any imported library may add."""

ProcessCollector(registry=PROCESS)

_rows_scanned = Counter(
    "risk_alerts_rows_scanned", "Rows decoded from sources by runs of this process.", registry=PROCESS
)
_step_seconds = Histogram(
    "risk_alerts_step_duration_seconds",
    "How long a stage of a run took, to its end or to its error, in runs of this process.",
    ["step"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600),
    registry=PROCESS,
)
_deliveries = Counter(
    "risk_alerts_deliveries",
    "Attempts to deliver a message, by Slack's answer, in runs of this process.",
    ["answer"],
    registry=PROCESS,
)

STEPS = ("load_window", "dedupe", "compute_streaks", "route", "send", "persist", "notify_support")

# From zero on: `increase()` misses the first count of a series that starts with it.
for _step in STEPS:
    _step_seconds.labels(_step)
for _label in METRIC_LABELS:
    _deliveries.labels(_label)


def count_rows_scanned(rows: int) -> None:
    """Add the rows that a run has decoded."""
    _rows_scanned.inc(rows)


def count_delivery(label: str) -> None:
    """Add one attempt; the label is one of `METRIC_LABELS`."""
    _deliveries.labels(label).inc()


@contextmanager
def timed_step(step: str) -> Iterator[None]:
    """Measure how many seconds a stage takes, also when it fails."""
    with _step_seconds.labels(step).time():
        yield
