"""One mail about everything of the month that is open."""

import logging
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from core.domain import (
    UNKNOWN_REGION,
    AlertStatus,
    NotificationStatus,
    RunRequest,
    SupportMessage,
    open_by_reason,
)
from core.ledger import AlertView
from core.mail import TOTAL_SECONDS, MailError, send_mail
from core.redaction import redact
from core.run import RunContext, utc_now
from core.runtime import at_risk_for, money, one_line
from core.settings import Settings

logger = logging.getLogger(__name__)

_notifying = threading.Lock()


@dataclass(frozen=True, slots=True)
class NotificationResult:
    """How the notification went, and what went wrong when it failed."""

    status: NotificationStatus
    error: str | None = None


@task(name="notify_support", cache_policy=NO_CACHE, persist_result=False)
def notify_support(run: RunContext) -> None:
    """Notify support of the month's open alerts, unless the address has accepted the same list before.

    A list counts as accepted only once the mail was taken: when the run dies here, or the mail fails, the
    next run of the month sends it. A dry run notifies no one. A mail that fails ends no run.
    """
    if not run.request.dry_run:
        with _one_at_a_time():
            _notify_if_new(run)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Let runs side by side notify one after the other, so that the second sees what the first has sent.

    Waits no longer than one mail may take: a mail that comes twice is better than one that never comes.
    """
    mine = _notifying.acquire(timeout=TOTAL_SECONDS)
    try:
        yield
    finally:
        if mine:
            _notifying.release()


def _notify_if_new(run: RunContext) -> None:
    history, month, settings = run.ledger.history, run.request.month, run.settings
    # Without a mail server the log is the address, and an address that comes later gets the whole list.
    address = settings.support_email if settings.smtp_host else ""
    found = history.open_alerts(month)
    message = compose(run.run_id, run.request, found.alerts)
    if message is None:
        return
    if history.notified(month, address) == found.digest:
        logger.info("Support has the list of the %d open alerts already", len(found.alerts))
        return
    result = notify(message, settings)
    run.ledger.record_notification(
        run.run_id,
        message,
        result.status,
        result.error,
        address=address,
        digest=found.digest,
        now=utc_now(),
    )


def notify(message: SupportMessage, settings: Settings) -> NotificationResult:
    """Mail the notification, or log it when there is no mail server; never raise for a mail that fails."""
    if settings.smtp_host is None:
        logger.warning("To %s: %s\n%s", settings.support_email, message.subject, message.body)
        return NotificationResult(NotificationStatus.LOGGED)
    try:
        send_mail(settings, message)
    except MailError as error:
        logger.error("Support notification: %s", error)  # noqa: TRY400  its text says it all
        return NotificationResult(NotificationStatus.FAILED, str(error))
    logger.info("Support notification sent to %s: %s", settings.support_email, message.subject)
    return NotificationResult(NotificationStatus.SENT)


def compose(run_id: str, request: RunRequest, alerts: Sequence[AlertView]) -> SupportMessage | None:
    """Return the notification of the month's open alerts, all of them, or None when none is open."""
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
"""In this order."""


def _section_of(alert: AlertView) -> str:
    if alert.status is AlertStatus.UNCONFIRMED:
        return "unconfirmed"
    return "unknown region" if alert.reason == UNKNOWN_REGION else "failed"


def _entry(alert: AlertView) -> str:
    """Return one alert: a line that names it and short lines below, which fit on a phone."""
    facts: list[tuple[str, str | None]] = [
        ("Alert", alert.alert_type),
        ("Region", _region(alert.account_region)),
        ("ARR", money(alert.arr)),
        ("At risk", at_risk_for(alert.duration_months, alert.risk_start_month)),
    ]
    if alert.reason != UNKNOWN_REGION:
        facts += [
            ("Channel", alert.channel),
            ("Error", None if alert.error is None else redact(alert.error)),
        ]
    shown = [(label, value) for label, value in facts if value is not None]
    return f"{one_line(alert.account_name)} ({one_line(alert.account_id)})\n{_aligned(shown, indent='  ')}"


def _region(region: str | None) -> str:
    """Return a region as given, in quotes: a stray blank may be what is wrong with it."""
    if region is None:
        return "null"
    return f'"{region}"' if region else "empty"


def _aligned(facts: Iterable[tuple[str, str]], *, indent: str) -> str:
    return "\n".join(f"{indent}{label + ':':<9}{one_line(value)}" for label, value in facts)
