"""Preview a run of a month: the same stages, but nothing is sent or stored."""

from datetime import date

from core import domain
from core.alerts import PreviewAlertView, PreviewView, each_alert
from core.ledger import known_deliveries
from core.runtime import Settings
from core.slack import build_message, details_url
from tasks.compute_streaks import compute_streaks
from tasks.dedupe import dedupe
from tasks.load_window import load_window
from tasks.route import route


def preview(request: domain.RunRequest, settings: Settings) -> PreviewView:
    """Return each alert of the month, what a run would do with it, and its message to Slack.

    Raises the errors of `load_window`, or `LedgerError`. More alerts than `MAX_ALERTS_PER_RUN` are only a
    warning here, so that a preview shows them.
    """
    window = load_window.fn(request.source_uri, request.month, settings)
    assessment = compute_streaks.fn(window, dedupe.fn(window.rows), settings)
    routed = route.fn(assessment.alerts, settings)
    known = known_deliveries(settings.database_url, request.month)
    again = request.retry_unconfirmed
    planned = [
        (alert, domain.plan_delivery(alert, known.get(alert.key), retry_unconfirmed=again, dry_run=True))
        for alert in each_alert(routed)
    ]
    counts_by_type = domain.count_alerts(
        assessment.counts_by_type,
        ((alert.alert_type, delivery.status, delivery.reason, 1) for alert, delivery in planned),
    )
    counts = domain.total(counts_by_type.values())
    warnings = list(assessment.warnings)
    if 0 < settings.max_alerts_per_run < counts.would_send:
        message = (
            f"A run would send none of these alerts: MAX_ALERTS_PER_RUN is {settings.max_alerts_per_run};"
            " check the source, or raise the limit"
        )
        warnings.append(domain.RunWarning("too_many_alerts", message, counts.would_send))
    return PreviewView(
        month=request.month,
        counts=counts,
        counts_by_type=counts_by_type,
        warnings=warnings,
        alerts=[_preview_alert(alert, delivery, request.month, settings) for alert, delivery in planned],
    )


def _preview_alert(
    alert: domain.Alert, delivery: domain.Delivery, month: date, settings: Settings
) -> PreviewAlertView:
    status, reason = delivery.status, delivery.reason
    if status is domain.AlertStatus.UNCONFIRMED:
        # A run would not send this alert. The contract has no status `unconfirmed` in a preview.
        status, reason = domain.AlertStatus.FAILED, domain.AlertStatus.UNCONFIRMED
    return PreviewAlertView(
        **alert._asdict() | {"channel": delivery.channel, "status": status, "reason": reason},
        details_url=details_url(settings.app_base_url, alert.account_id),
        message=build_message(alert, month, settings) if alert.channel else None,
    )
