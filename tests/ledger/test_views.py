"""The words and tables of alerts and runs in reports, the same on both databases."""

from core.domain import REASONS
from core.ledger import Ledger
from tests.delivery.world import NOW, begin, key, routed


def test_only_another_alert_type_is_named(ledger: Ledger) -> None:
    begin(ledger, "run", [routed("A"), routed("A", alert_type="recovered")])
    at_risk, recovered = ledger.history.alerts("run").alerts
    assert (at_risk.key, at_risk.shown_type, at_risk.label) == (key("A"), "", "Name of A (A)")
    assert at_risk.streak == "At Risk for: 2 months (since 2025-12-01)"
    assert (recovered.key, recovered.shown_type) == (key("A", "recovered"), "recovered")
    assert recovered.label == "Name of A (A), recovered"
    assert recovered.streak == "Was At Risk for: 2 months (2025-12-01 to 2026-01-01)"


def test_error_explains_an_alert_before_its_reason(ledger: Ledger) -> None:
    begin(ledger, "run", [routed("A")])
    [alert] = ledger.history.alerts("run").alerts
    for reason, error, why in (
        (None, None, ""),
        ("unknown_region", None, REASONS["unknown_region"].meaning),
        ("unknown_region", "what Slack said", "what Slack said"),
        ("of a newer version", None, ""),
    ):
        assert alert.model_copy(update={"reason": reason, "error": error}).why == why


def test_alert_of_a_removed_type_has_the_default_words(ledger: Ledger) -> None:
    begin(ledger, "run", [routed("A", alert_type="removed")])
    [alert] = ledger.history.alerts("run").alerts
    assert (alert.shown_type, alert.streak) == ("removed", "At Risk for: 2 months (since 2025-12-01)")


def test_channels_count_alerts_by_status(ledger: Ledger) -> None:
    alerts = [routed("A-1"), routed("A-2"), routed("A-3", "emea"), routed("A-4", None)]
    begin(ledger, "other", alerts)
    begin(ledger, "run", alerts)
    ledger.claim("run", alerts[0], NOW)
    ledger.finish("run", None, NOW)
    assert ledger.history.channels("run") == (
        ["failed", "unconfirmed"],
        [("amer", [1, 1]), ("emea", [1, 0]), ("(no channel)", [1, 0])],
    )


def test_channels_are_sorted_by_name(ledger: Ledger) -> None:
    begin(ledger, "dry", [routed(name, name) for name in "eacfbd"], dry_run=True)
    assert ledger.history.channels("dry") == (["would send"], [(name, [1]) for name in "abcdef"])


def test_title_of_a_run_is_its_month(ledger: Ledger) -> None:
    begin(ledger, "run")
    begin(ledger, "dry", dry_run=True)
    assert ledger.history.run("run").title == "Risk alerts 2026-01"
    assert ledger.history.run("dry").title == "Risk alerts 2026-01 (dry run)"


def test_run_names_the_alert_types_that_it_counts(ledger: Ledger) -> None:
    begin(ledger, "run", [routed("A", alert_type="recovered")])
    found = ledger.history.run("run")
    assert found.alert_types == ["recovered", "at_risk"]
    assert ("recovered", "recovered", 3) in found.counts.labeled(found.alert_types)
    before = found.model_copy(update={"counts_by_type": {}})
    assert before.alert_types == ["at_risk"]
