"""The notification about all open alerts of a month, as a mail or in the log."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.domain import (
    UNKNOWN_REGION,
    AlertStatus,
    NotificationStatus,
    RunRequest,
    SupportMessage,
    open_by_reason,
)
from core.runtime import Settings, money, one_line, redact, shown_region
from core.support.mail import MailError, send_mail

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NotificationResult:
    """The status of the notification, and the error of a failed one."""

    status: NotificationStatus
    error: str | None = None


class OpenAlert(Protocol):
    """The fields of an alert in the notification."""

    account_id: str
    account_name: str
    account_region: str | None
    alert_type: str
    arr: int | None
    channel: str | None
    status: AlertStatus
    reason: str | None
    error: str | None

    @property
    def streak(self) -> str:
        """Return how long the account is or was at risk."""
        ...


def notify(message: SupportMessage, settings: Settings) -> NotificationResult:
    """Mail the notification, or log it if there is no mail server; return the result, also of a failure."""
    if settings.smtp_host is None:
        logger.warning("To %s: %s\n%s", settings.support_email, message.subject, message.body)
        return NotificationResult(NotificationStatus.LOGGED)
    try:
        send_mail(settings, message)
    except MailError as error:
        logger.error("Support notification: %s", error)  # noqa: TRY400  # the text is enough
        return NotificationResult(NotificationStatus.FAILED, str(error))
    logger.info("Support notification sent to %s: %s", settings.support_email, message.subject)
    return NotificationResult(NotificationStatus.SENT)


def compose(run_id: str, request: RunRequest, alerts: Sequence[OpenAlert]) -> SupportMessage | None:
    """Return the notification of the month's open alerts, or None without any."""
    groups = [(*group, _section_of(group[2][0])) for group in open_by_reason(alerts)]
    if not groups:
        return None
    groups.sort(key=lambda group: _SECTIONS.index(group[3]))
    run = [("Run", run_id), ("Month", request.month.isoformat()), ("Source", redact(request.source_uri))]
    parts = ["Account risk alerts that are not confirmed in Slack.", _aligned(run, indent="")]
    for reason, advice, those, section in groups:
        title = section.upper() if section == _SECTIONS[0] else f"{section.upper()}: {one_line(reason)}"
        parts.append(f"{title} ({len(those)})\n{advice[0].upper()}{advice[1:]}.")
        parts += [_entry(alert) for alert in those]
    numbers = {name: sum(len(group[2]) for group in groups if group[3] == name) for name in _SECTIONS}
    summary = ", ".join(f"{number} {name}" for name, number in numbers.items() if number)
    return SupportMessage(
        subject=f"Account risk alerts {request.month:%Y-%m}: {summary}", body="\n\n".join(parts) + "\n"
    )


_SECTIONS = ("unknown region", "failed", "unconfirmed")
"""The sections of the mail, in this order."""


def _section_of(alert: OpenAlert) -> str:
    if alert.status is AlertStatus.UNCONFIRMED:
        return "unconfirmed"
    return "unknown region" if alert.reason == UNKNOWN_REGION else "failed"


def _entry(alert: OpenAlert) -> str:
    """Return the lines of one alert, short enough for a phone."""
    fields = [
        ("Alert", alert.alert_type),
        ("Region", shown_region(alert.account_region)),
        ("ARR", money(alert.arr)),
    ]
    if alert.channel is not None:
        fields.append(("Channel", alert.channel))
    if alert.error is not None:
        fields.append(("Error", redact(alert.error)))
    name = one_line(f"{alert.account_name} ({alert.account_id})")
    return f"{name}\n{_aligned(fields, indent='  ')}\n  {alert.streak}"


def _aligned(fields: Iterable[tuple[str, str]], *, indent: str) -> str:
    return "\n".join(f"{indent}{label + ':':<9}{one_line(value)}" for label, value in fields)
