"""The figures of channels and months on the pages, the same on both databases."""

from datetime import timedelta

import pytest

from core.alerts import Assessment
from core.domain import SourceNotFound, count_found
from core.ledger import Ledger
from core.ledger.ledger import _change
from core.ledger.schema import RUNS
from tests.delivery.world import ME, MONTH, NOW, OTHER_MONTH, REQUEST, begin, routed


def test_month_is_its_last_successful_run(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    for minute, (run_id, names, failed) in enumerate(
        [("a", ["A-1"], False), ("new", ["A-1", "A-2", "A-3"], False), ("broken", [], True)]
    ):
        begin(ledger, run_id, [routed(name, "amer") for name in names])
        with ledger._database.write() as connection:
            _change(connection, RUNS, [{"run_id": run_id, "started_at": NOW + timedelta(minutes=minute)}])
        ledger.finish(run_id, SourceNotFound("gone") if failed else None, NOW)
    begin(ledger, "before", [], month=OTHER_MONTH, dry_run=True)
    ledger.finish("before", None, NOW)
    found = [(one.month, one.run_id, one.at_risk, one.arr) for one in ledger.history.months(MONTH)]
    assert found == [(OTHER_MONTH, "before", 2, 0), (MONTH, "new", 5, 150_000)]
    assert [one.run_id for one in ledger.history.months(OTHER_MONTH)] == ["before"]
    monkeypatch.setattr("core.ledger.history.MONTHS_SHOWN", 1)
    assert [one.run_id for one in ledger.history.months()] == ["new"]


def test_run_without_at_risk_hides_no_month(ledger: Ledger) -> None:
    begin(ledger, "both", [routed("A-1"), routed("A-2", alert_type="recovered")])
    ledger.finish("both", None, NOW)
    later = NOW + timedelta(minutes=1)
    ledger.begin_run("recovered", REQUEST, ME, None, later)
    found = Assessment("version-1", count_found(100, 3, {"recovered": (1, 1)}), (), [])
    ledger.plan("recovered", found, [], 0, later)
    ledger.finish("recovered", None, later)
    found = [(one.run_id, one.at_risk, one.arr) for one in ledger.history.months(MONTH)]
    assert found == [("both", 3, 50_000)]


def test_channels_count_alerts_by_status(ledger: Ledger) -> None:
    alerts = [routed("A-1"), routed("A-2"), routed("A-3", "emea"), routed("A-4", None)]
    begin(ledger, "run", alerts)
    ledger.claim("run", alerts[0], NOW)
    ledger.finish("run", None, NOW)
    assert ledger.history.channels("run") == (
        ["failed", "unconfirmed"],
        [("amer", [1, 1]), ("emea", [1, 0]), ("(no channel)", [1, 0])],
    )
    begin(ledger, "dry", [routed("A-2"), routed("A-5", "emea")], dry_run=True)
    assert ledger.history.channels("dry") == (["would send"], [("amer", [1]), ("emea", [1])])
