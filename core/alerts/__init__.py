"""The alert types: one file each. A new one is added with its file and its entry in `RULES`."""

from collections.abc import Iterable

from core.alerts.at_risk import AtRisk
from core.alerts.recovered import Recovered
from core.alerts.rule import AlertRule
from core.alerts.table import ALERTS, ROUTED_ALERTS
from core.domain import SettingsError

__all__ = ["ALERTS", "ROUTED_ALERTS", "RULES", "AlertRule", "rules_named"]

RULES: dict[str, AlertRule] = {rule.type: rule for rule in (AtRisk(), Recovered())}
"""Every alert type by its name, as in `ALERT_TYPES`."""


def rules_named(names: Iterable[str]) -> list[AlertRule]:
    """Return the rules of these alert types, each once, in the order of `RULES`.

    Raises `SettingsError` for a name that is none of them.
    """
    wanted = set(names)
    if unknown := sorted(wanted - RULES.keys()):
        raise SettingsError(
            f"ALERT_TYPES names {', '.join(unknown)}, which is no alert type: use {', '.join(RULES)}"
        )
    return [rule for name, rule in RULES.items() if name in wanted]
