"""The registry of the alert types."""

from collections.abc import Container

from core.alerts.at_risk import AtRisk
from core.alerts.recovered import Recovered
from core.alerts.rule import AlertRule

RULES: dict[str, AlertRule] = {rule.type: rule for rule in (AtRisk(), Recovered())}
"""Every alert type by its name, as in `ALERT_TYPES`."""


def rules_named(names: Container[str]) -> list[AlertRule]:
    """Return the rules of these alert types, each once, in the order of `RULES`."""
    return [rule for name, rule in RULES.items() if name in names]
