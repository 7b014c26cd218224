"""The alert types, each as a rule over winning rows."""

import re

import pyarrow as pa

from core.alerts import ALERTS, RULES, AlertView, PreviewAlertView, rules_named
from core.domain import Alert, Counts


def test_rules_come_once_in_the_order_of_the_registry() -> None:
    assert [rule.type for rule in rules_named(["recovered", "at_risk", "recovered"])] == [
        "at_risk",
        "recovered",
    ]


def test_name_of_a_rule_is_short_and_no_other_count() -> None:
    for name, rule in RULES.items():
        assert name == rule.type
        assert re.fullmatch("[a-z][a-z0-9_]{0,39}", name)
        assert name in {"at_risk", "recovered"} or name not in Counts.model_fields


def test_each_rule_finds_streaks_that_end_at_its_anchor() -> None:
    winners = pa.table(
        {
            "at_risk": [True] * 9 + [False] * 9,
            "months_at_risk_before": pa.array([*range(9), *range(9)], pa.int32()),
        }
    )
    for rule in RULES.values():
        found = winners.filter(rule.find(winners)).to_pylist()
        assert found
        assert all(one["at_risk"] if rule.anchor == 0 else one["months_at_risk_before"] > 0 for one in found)


def test_every_field_of_an_alert_is_found_and_shown() -> None:
    """Pydantic would leave a field out of every answer without a word."""
    fields = set(Alert._fields)
    assert fields == {*ALERTS.names, "channel"}
    assert fields <= AlertView.model_fields.keys() & PreviewAlertView.model_fields.keys()
