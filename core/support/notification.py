"""The notification about all open alerts of a month, as a mail or in the log."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from textwrap import indent

from core import domain
from core.alerts import AlertView, open_by_reason
from core.runtime import Settings, redact
from core.support.mail import MailError, send_mail

logger = logging.getLogger(__name__)


def notify(message: domain.SupportMessage, settings: Settings) -> domain.Notification:
    """Mail the notification, or log it if there is no mail server; return the result, also of a failure."""
    if settings.smtp_host is None:
        # Indented, so that no account's name looks like a line of the log.
        body = indent(message.body, "  ")
        logger.warning("To %s: %s\n%s", settings.support_email, message.subject, body)
        return domain.Notification(message, domain.NotificationStatus.LOGGED)
    try:
        send_mail(settings, message)
    except MailError as error:
        server = f"{settings.smtp_host}:{settings.smtp_port}"
        why = f"The mail server {server} did not confirm the mail: {error}"
        logger.error("Support notification: %s", why)
        return domain.Notification(message, domain.NotificationStatus.FAILED, why)
    logger.info("Support notification sent to %s: %s", settings.support_email, message.subject)
    return domain.Notification(message, domain.NotificationStatus.SENT)


def compose(run_id: str, request: domain.RunRequest, alerts: Sequence[AlertView]) -> domain.SupportMessage:
    """Return the notification of the month's open alerts."""
    sections: dict[str, list[str]] = {"unknown region": [], "failed": [], "unconfirmed": []}
    numbers: Counter[str] = Counter()
    for found in open_by_reason(alerts):
        section = found.status.value
        title = f"{section.upper()}: {found.reason}"
        if section == "failed" and found.reason == domain.UNKNOWN_REGION:
            section, title = "unknown region", "UNKNOWN REGION"
        numbers[section] += found.number
        advice = found.advice
        sections[section] += [
            f"{title} ({found.number:,})\n{advice[0].upper()}{advice[1:]}.",
            *map(_entry, found.alerts),
        ]
    run = {"Run": run_id, "Month": f"{request.month}", "Source": redact(request.source_uri)}
    parts = ["Open account risk alerts: not delivered to Slack, or unconfirmed.", "\n".join(_aligned(run))]
    summary = ", ".join(f"{numbers[name]:,} {name}" for name in sections if numbers[name])
    return domain.SupportMessage(
        subject=f"Account risk alerts {request.month:%Y-%m}: {summary}",
        body="\n\n".join([*parts, *chain(*sections.values())]) + "\n",
    )


def _entry(alert: AlertView) -> str:
    """Return the lines of one alert, short enough for a phone."""
    fields = {
        "Alert": alert.alert_type,
        "Region": domain.shown_region(alert.account_region),
        "ARR": domain.money(alert.arr),
        "Channel": alert.channel,
        "Error": alert.error and redact(alert.error),
    }
    name = domain.one_line(f"{alert.account_name} ({alert.account_id})")
    return "\n  ".join([name, *_aligned(fields), alert.streak])


def _aligned(fields: Mapping[str, str | None]) -> list[str]:
    given = ((label, value) for label, value in fields.items() if value is not None)
    return [f"{label + ':':<9}{domain.one_line(value)}" for label, value in given]
