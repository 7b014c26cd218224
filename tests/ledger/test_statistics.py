"""Ledger statistics, the same on both databases, and their gauges."""

import time
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from core.domain import MONTH_NOT_IN_SOURCE, OutcomeStatus, RunRequest, RunStatus, RunWarning, SourceNotFound
from core.ledger import Ledger
from tests.delivery.world import ME, MONTH, NOW, OTHER_MONTH, assessment, at, begin, record, routed, sent


def samples(ledger: Ledger) -> dict[tuple[str, ...], float]:
    """Return what a scrape has of the ledger: by name, and by the values of its labels."""
    return {
        (sample.name.removeprefix("risk_alerts_"), *sample.labels.values()): sample.value
        for family in ledger.history.gauges().collect()
        for sample in family.samples
    }


def test_latest_month_ignores_dry_and_failed_runs(ledger: Ledger) -> None:
    after = date(2026, 2, 1)
    for run_id, month, dry_run, began, ended, error in (
        ("first", OTHER_MONTH, False, 0, 1, None),
        ("of the latest month", MONTH, False, 2, 3, None),
        ("last", OTHER_MONTH, False, 2, 5, None),
        ("failed", after, False, 3, 4, SourceNotFound("gone")),
        ("failed later", after, False, 3, 7, SourceNotFound("gone")),
        ("running", after, False, 10, None, None),
        ("running for longer", MONTH, False, 8, None, None),
        ("dry", after, True, 0, 9, None),
        ("dry and failed", after, True, 0, 9, SourceNotFound("gone")),
        ("dry and running", MONTH, True, 0, None, None),
    ):
        request = RunRequest("file:///source.parquet", month, dry_run)
        ledger.begin_run(run_id, request, ME, None, at(began))
        if ended:
            ledger.finish(run_id, error, at(ended))
    found = samples(ledger)
    assert {name: number for name, number in found.items() if name[0] != "outcomes"} == {
        ("runs", "running"): 3,
        ("runs", "succeeded"): 4,
        ("runs", "failed"): 3,
        ("last_succeeded_month_timestamp_seconds",): datetime(2026, 1, 1, tzinfo=UTC).timestamp(),
    }


def test_latest_month_had_rows(ledger: Ledger) -> None:
    late = replace(assessment([]), warnings=(RunWarning(MONTH_NOT_IN_SOURCE, "check the export"),))
    for run_id, found in (("late", late), ("on time", assessment([]))):
        begin(ledger, run_id, month=date(2026, 2, 1))
        ledger.plan(run_id, found, (), 0, NOW)
        ledger.finish(run_id, None, NOW)
        timestamp = samples(ledger)["last_succeeded_month_timestamp_seconds",]
        assert bool(timestamp) == (found is not late)


def test_latest_month_begins_in_utc(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(ledger, "run", [])
    ledger.finish("run", None, NOW)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            found = samples(ledger)
        finally:
            patch.undo()
            time.tzset()
    midnight = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert found["last_succeeded_month_timestamp_seconds",] == midnight


def test_outcomes_are_counted_by_status(ledger: Ledger) -> None:
    unroutable = [routed("B-1", None), routed("B-2", None), routed("B-3", None, "recovered")]
    delivered = {routed(name): sent(name) for name in ("A-1", "A-2")}
    record(ledger, "run", {**delivered, **dict.fromkeys([routed("A-3"), *unroutable])})
    [sending] = begin(ledger, "running", [routed("A-4")])
    ledger.claim("running", sending, NOW)
    assert {name[1:]: number for name, number in samples(ledger).items() if name[0] == "outcomes"} == {
        ("at_risk", "sent"): 2,
        ("at_risk", "unconfirmed"): 1,
        ("at_risk", "failed"): 2,
        ("at_risk", "sending"): 1,
        ("recovered", "sent"): 0,
        ("recovered", "unconfirmed"): 0,
        ("recovered", "failed"): 1,
        ("recovered", "sending"): 0,
    }


def test_gauges_show_zero_for_none(ledger: Ledger) -> None:
    assert samples(ledger) == {
        **{("runs", status): 0 for status in RunStatus},
        **{("outcomes", "at_risk", status): 0 for status in OutcomeStatus},
        ("last_succeeded_month_timestamp_seconds",): 0,
    }
