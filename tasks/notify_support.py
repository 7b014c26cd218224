"""One mail about all that a run could not deliver."""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from core.domain import (
    UNKNOWN_REGION,
    AlertStatus,
    Delivery,
    NotificationStatus,
    RoutedAlert,
    RunRequest,
    SupportMessage,
)
from core.mail import TOTAL_SECONDS, MailError, send_mail
from core.outcomes import Outcome, Report, Told, report_of
from core.redaction import redact
from core.run import RunContext, utc_now
from core.runtime import at_risk_for, money, one_line
from core.settings import Settings

logger = logging.getLogger(__name__)

_telling = threading.Lock()

_UNKNOWN_REGION_ADVICE = (
    "Not sent: the region has no channel. Give it one in REGIONS, or mend the\n"
    "region in the source, and run the month again."
)
_FAILED_ADVICE = "Surely not posted. Mend the cause and run the month again: these are tried again."
_UNCONFIRMED_ADVICE = (
    "May have been posted. Look in the channel; what is there needs nothing, and\n"
    "none is sent again unasked. To send all of them again, run the month with\n"
    "retry_unconfirmed (--retry-unconfirmed)."
)


@dataclass(frozen=True, slots=True)
class NotificationResult:
    """How the notification went, and what went wrong when it failed."""

    status: NotificationStatus
    error: str | None = None


@task(name="notify_support", cache_policy=NO_CACHE, persist_result=False)
def notify_support(
    run: RunContext, alerts: Sequence[RoutedAlert], deliveries: Mapping[str, Delivery]
) -> None:
    """Tell support in one mail what the run could not deliver and support does not know yet.

    What was told is on record only once the mail was taken: when the run dies here, or the mail fails, the
    next run of the month tells it. A dry run tells no one. A mail that fails ends no run.
    """
    if run.request.dry_run:
        return
    ours = [routed for routed in alerts if _is_open(deliveries.get(routed.alert.account_id))]
    if ours:
        with _one_at_a_time():
            _tell(run, ours)


def _is_open(delivery: Delivery | None) -> bool:
    return delivery is not None and delivery.status in {AlertStatus.FAILED, AlertStatus.UNCONFIRMED}


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Have runs side by side tell one after the other, so that the second knows what the first has told.

    Waits no longer than one mail may take: a mail that comes twice is better than one that never comes.
    """
    mine = _telling.acquire(timeout=TOTAL_SECONDS)
    try:
        yield
    finally:
        if mine:
            _telling.release()


def _tell(run: RunContext, ours: Sequence[RoutedAlert]) -> None:
    """Tell what is news of these alerts, as it is on record now: another run may have sent some since."""
    month, settings = run.request.month, run.settings
    to = settings.support_email if settings.smtp_host else None
    outcomes = run.ledger.outcomes(month)
    told = run.ledger.told(month, to)
    open_now: list[Report] = []
    for routed in ours:
        outcome = outcomes.get(routed.alert.account_id)
        report = outcome and report_of(routed, outcome)
        if report:
            open_now.append(report)
    news = [report for report in open_now if told.get(report.account_id) != report]
    message = compose(
        run.run_id,
        run.request,
        ours,
        {report.account_id: _delivery(outcomes[report.account_id]) for report in news},
        known=len(open_now) - len(news),
    )
    if message is None:
        logger.info("Nothing new for support: %d alerts are open as it was told before", len(open_now))
        return
    result = notify(message, settings)
    taken = result.status is not NotificationStatus.FAILED
    run.ledger.record_support(
        run.run_id, message, result.status, result.error, Told(tuple(news), to, utc_now()) if taken else None
    )


def _delivery(outcome: Outcome) -> Delivery:
    return Delivery(
        outcome.account_id,
        AlertStatus(outcome.status),
        outcome.channel,
        outcome.reason,
        outcome.error,
        outcome.attempts,
    )


def notify(message: SupportMessage, settings: Settings) -> NotificationResult:
    """Mail the notification, or log it when there is no mail server; never raises for a mail that fails."""
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


def compose(
    run_id: str,
    request: RunRequest,
    alerts: Sequence[RoutedAlert],
    deliveries: Mapping[str, Delivery],
    *,
    known: int = 0,
) -> SupportMessage | None:
    """Write the notification of a run, or None when there is nothing to tell.

    `deliveries` holds what became of each alert that is to be told, by account id. Every one that failed or
    is unconfirmed is listed, however many there are: this mail is how support learns of them. `known` is how
    many more are open as support was told before.
    """
    settled = [
        (alert, deliveries[alert.alert.account_id])
        for alert in alerts
        if alert.alert.account_id in deliveries
    ]
    failed = [pair for pair in settled if pair[1].status is AlertStatus.FAILED]
    homeless = [pair for pair in failed if pair[1].reason == UNKNOWN_REGION]
    others = [pair for pair in failed if pair[1].reason != UNKNOWN_REGION]
    unconfirmed = [pair for pair in settled if pair[1].status is AlertStatus.UNCONFIRMED]
    if not failed and not unconfirmed:
        return None
    month = request.month
    run = [("Run", run_id), ("Month", month.isoformat()), ("Source", redact(request.source_uri))]
    parts = [
        "Account risk alerts that did not surely reach Slack.",
        _aligned(run, indent=""),
        *([_known(run_id, known)] if known else []),
        *_section("UNKNOWN REGION", _UNKNOWN_REGION_ADVICE, homeless),
        *_section("FAILED", _FAILED_ADVICE, others),
        *_section("UNCONFIRMED", _UNCONFIRMED_ADVICE, unconfirmed),
    ]
    numbers = [(len(homeless), "unknown region"), (len(others), "failed"), (len(unconfirmed), "unconfirmed")]
    summary = ", ".join(f"{number} {what}" for number, what in numbers if number)
    return SupportMessage(
        subject=f"Account risk alerts {month:%Y-%m}: {summary}", body="\n\n".join(parts) + "\n"
    )


def _known(run_id: str, number: int) -> str:
    return f"Not listed here: {number} more, open as told before. GET /runs/{run_id}/alerts lists all."


def _section(title: str, advice: str, pairs: Sequence[tuple[RoutedAlert, Delivery]]) -> list[str]:
    if not pairs:
        return []
    return [f"{title} ({len(pairs)})\n{advice}", *(_entry(routed, delivery) for routed, delivery in pairs)]


def _entry(routed: RoutedAlert, delivery: Delivery) -> str:
    """Write one alert: a line that names it and short lines below, which a phone need not scroll sideways."""
    alert = routed.alert
    facts: list[tuple[str, str | None]] = [
        ("Region", _region(alert.account_region)),
        ("ARR", money(alert.arr)),
        ("At risk", at_risk_for(alert.duration_months, alert.risk_start_month)),
    ]
    if delivery.reason != UNKNOWN_REGION:
        facts += [
            ("Channel", delivery.channel or routed.channel),
            ("Reason", delivery.reason),
            ("Error", None if delivery.error is None else redact(delivery.error)),
        ]
    shown = [(label, value) for label, value in facts if value is not None]
    return f"{one_line(alert.account_name)} ({one_line(alert.account_id)})\n{_aligned(shown, indent='  ')}"


def _region(region: str | None) -> str:
    """Show a region as given: in quotes, for a stray blank may be what is wrong with it."""
    if region is None:
        return "null"
    return f'"{region}"' if region else "empty"


def _aligned(facts: Iterable[tuple[str, str]], *, indent: str) -> str:
    return "\n".join(f"{indent}{label + ':':<9}{one_line(value)}" for label, value in facts)
