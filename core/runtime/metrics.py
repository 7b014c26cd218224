"""The Prometheus metrics of this process, which start at zero.

Metrics that survive a restart or include batch jobs are those of the ledger, `History.gauges`.
"""

from prometheus_client import Counter, Histogram, values

from core.domain import METRIC_LABELS

# With PROMETHEUS_MULTIPROC_DIR the library would keep values in files, which other processes continue.
values.ValueClass = values.MutexValue

ROWS_SCANNED = Counter("risk_alerts_rows_scanned", "Rows that this process needed from sources.")
STEP_SECONDS = Histogram(
    "risk_alerts_step_duration_seconds",
    "How long a stage of a run took, to its end or to its error, in runs of this process.",
    ["step"],
    buckets=(0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600),
)
DELIVERIES = Counter(
    "risk_alerts_deliveries",
    "Attempts to deliver a message, by Slack's answer, in runs of this process.",
    ["answer"],
)

STEPS = ("load_window", "dedupe", "compute_streaks", "route", "send", "persist", "notify_support")

# Series start at zero, because `increase()` misses the first count of a series that starts later.
for _step in STEPS:
    STEP_SECONDS.labels(_step)
for _label in METRIC_LABELS:
    DELIVERIES.labels(_label)
