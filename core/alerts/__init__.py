"""The alert types, one file each with its rule and words, and the alerts that they find.

A new type is a file and an entry in `RULES`. The stages pass alerts on as an Arrow table; reports and the API
show them as views.
"""

from core.alerts.registry import RULES, rules_named
from core.alerts.rule import ALERTS, AlertRule, Assessment, each_alert, objects, passes_threshold
from core.alerts.views import (
    AlertView,
    OpenReason,
    PreviewAlertView,
    PreviewView,
    open_by_reason,
    shown_months,
    shown_streak,
)
