"""Ledger statistics, the same on both databases, and their gauges."""

from datetime import UTC, date, datetime, timedelta

from prometheus_client import CollectorRegistry

from core.domain import AlertStatus, Delivery, OutcomeStatus, RunRequest, RunStatus, SourceNotFound
from core.ledger import Ledger, LedgerCollector, LedgerStatistics
from tests.delivery.world import ME, MONTH, NOW, OTHER_MONTH, begin, key, routed


def at(minute: int) -> datetime:
    """Return an instant."""
    return NOW + timedelta(minutes=minute)


def test_statistics_ignore_dry_runs(
    ledger: Ledger,
) -> None:
    after = date(2026, 2, 1)
    for run_id, month, dry_run, began, ended, error in (
        ("first", OTHER_MONTH, False, 0, 1, None),
        ("of the latest month", MONTH, False, 2, 3, None),
        ("last", OTHER_MONTH, False, 2, 5, None),
        ("failed", after, False, 3, 4, SourceNotFound("gone")),
        ("failed later", after, False, 3, 7, SourceNotFound("gone")),
        ("running", MONTH, False, 10, None, None),
        ("running for longer", MONTH, False, 8, None, None),
        ("dry", after, True, 0, 9, None),
        ("dry and failed", after, True, 0, 9, SourceNotFound("gone")),
        ("dry and running", MONTH, True, 0, None, None),
    ):
        request = RunRequest("file:///source.parquet", month, dry_run)
        ledger.begin_run(run_id, request, ME, None, at(began))
        if ended:
            ledger.finish(run_id, error, at(ended))
    assert ledger.history.statistics() == LedgerStatistics(
        runs={RunStatus.RUNNING: 3, RunStatus.SUCCEEDED: 4, RunStatus.FAILED: 3},
        outcomes={("at_risk", status): 0 for status in OutcomeStatus},
        last_succeeded=at(5),
        last_failed=at(7),
        last_month=MONTH,
        running_since=at(8),
    )


def test_outcomes_are_counted_by_status(ledger: Ledger) -> None:
    names = ("sent", "also sent", "unconfirmed", "failed", "also failed", "failed too", "sending")
    alerts = [
        routed(name, None if "failed" in name else "amer", "recovered" if name == "failed too" else "at_risk")
        for name in names
    ]
    begin(ledger, "run", alerts[:-1])
    for item in alerts[:3]:
        ledger.claim("run", item, NOW)
    for name in names[:2]:
        ledger.record_answer(
            "run", Delivery(key(name), AlertStatus.SENT, "amer", attempts=1, sent_at=NOW), NOW
        )
    ledger.finish("run", None, NOW)
    begin(ledger, "running", alerts)
    ledger.claim("running", alerts[-1], NOW)
    assert ledger.history.statistics().outcomes == {
        ("at_risk", "sent"): 2,
        ("at_risk", "unconfirmed"): 1,
        ("at_risk", "failed"): 2,
        ("at_risk", "sending"): 1,
        ("recovered", "sent"): 0,
        ("recovered", "unconfirmed"): 0,
        ("recovered", "failed"): 1,
        ("recovered", "sending"): 0,
    }


def gauges(statistics: LedgerStatistics | None) -> dict[tuple[str, ...], float]:
    """Return the samples of a scrape by name, and by the value of the label if there is one."""
    registry = CollectorRegistry()
    registry.register(LedgerCollector(statistics))
    return {
        (sample.name.removeprefix("risk_alerts_"), *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def test_gauges_show_zero_for_never() -> None:
    runs = dict(zip(RunStatus, (1, 2, 3), strict=True))
    outcomes = {("at_risk", status): 4 + n for n, status in enumerate(OutcomeStatus)}
    instants = [datetime(1970, 1, 1, 0, 0, seconds, tzinfo=UTC) for seconds in (11, 12, 13)]
    counts = {
        ("ledger_up",): 1,
        ("runs", "running"): 1,
        ("runs", "succeeded"): 2,
        ("runs", "failed"): 3,
        ("outcomes", "at_risk", "sending"): 4,
        ("outcomes", "at_risk", "sent"): 5,
        ("outcomes", "at_risk", "failed"): 6,
        ("outcomes", "at_risk", "unconfirmed"): 7,
    }
    whole = LedgerStatistics(runs, outcomes, instants[0], instants[1], date(1970, 1, 2), instants[2])
    assert gauges(whole) == counts | {
        ("last_run_timestamp_seconds", "succeeded"): 11,
        ("last_run_timestamp_seconds", "failed"): 12,
        ("last_succeeded_month_timestamp_seconds",): 86_400,
        ("running_since_timestamp_seconds",): 13,
    }
    assert gauges(LedgerStatistics(runs, outcomes, None, None, None, None)) == counts | {
        ("last_run_timestamp_seconds", "succeeded"): 0,
        ("last_run_timestamp_seconds", "failed"): 0,
        ("last_succeeded_month_timestamp_seconds",): 0,
        ("running_since_timestamp_seconds",): 0,
    }
    assert gauges(None) == {("ledger_up",): 0}
