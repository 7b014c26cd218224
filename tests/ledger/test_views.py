"""The words of alerts and runs in reports."""

from datetime import date

import pytest

from core.alerts import AlertView
from core.domain import REASONS, AlertStatus
from core.ledger import Ledger
from tests.delivery.world import begin, key, routed


def view(alert_type: str = "at_risk", reason: str | None = None, error: str | None = None) -> AlertView:
    """Return an alert of Acme."""
    return AlertView(
        alert_type=alert_type,
        account_id="A",
        account_name="Acme",
        account_region=None,
        arr=None,
        renewal_date=None,
        account_owner=None,
        duration_months=2,
        risk_start_month=date(2026, 1, 1),
        channel=None,
        status=AlertStatus.FAILED,
        reason=reason,
        error=error,
        attempts=0,
        sent_at=None,
    )


@pytest.mark.parametrize(
    ("alert_type", "kind", "label", "streak"),
    [
        ("at_risk", "", "Acme (A)", "At Risk for: 2 months (since 2026-01-01)"),
        (
            "recovered",
            "recovered",
            "Acme (A), recovered",
            "Was At Risk for: 2 months (2026-01-01 to 2026-02-01)",
        ),
    ],
)
def test_only_another_alert_type_is_named(alert_type: str, kind: str, label: str, streak: str) -> None:
    found = view(alert_type)
    assert (found.key, found.kind, found.label) == (key("A", alert_type), kind, label)
    assert found.streak == streak


@pytest.mark.parametrize(
    ("reason", "error", "why"),
    [
        (None, None, ""),
        ("unknown_region", None, REASONS["unknown_region"].meaning),
        ("unknown_region", "what Slack said", "what Slack said"),
        ("of a newer version", None, ""),
    ],
)
def test_error_explains_an_alert_before_its_reason(reason: str | None, error: str | None, why: str) -> None:
    assert view(reason=reason, error=error).why == why


def test_title_of_a_run_is_its_month(ledger: Ledger) -> None:
    begin(ledger, "run")
    begin(ledger, "dry", dry_run=True)
    assert ledger.history.run("run").title == "Risk alerts 2026-01"
    assert ledger.history.run("dry").title == "Risk alerts 2026-01 (dry run)"


def test_run_names_the_alert_types_that_it_counts(ledger: Ledger) -> None:
    begin(ledger, "run", [routed("A", alert_type="recovered")])
    found = ledger.history.run("run")
    assert found.alert_types == ["recovered", "at_risk"]
    assert ("recovered", "recovered", 3) in found.labeled_counts
    before = found.model_copy(update={"counts_by_type": {}})
    assert before.alert_types == ["at_risk"]
