"""The alert types, one file each with its rule and words, and the alerts that they find.

A new type is a file and an entry in `RULES`. The stages pass alerts on as an Arrow table; reports and the API
show them as views.
"""

from core.alerts.registry import RULES, rules_named
from core.alerts.rule import ALERTS, AlertRule, Assessment
from core.alerts.views import (
    AlertView,
    OpenReason,
    PreviewAlertView,
    PreviewView,
    months,
    open_by_reason,
    streak,
)
