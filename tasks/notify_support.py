"""Send one mail about all open alerts of the month."""

import logging
import threading

from prefect import task
from prefect.cache_policies import NO_CACHE

from core.run import RunContext, utc_now
from core.support import TOTAL_SECONDS, compose, notify

logger = logging.getLogger(__name__)

_notifying = threading.Lock()


@task(name="notify_support", cache_policy=NO_CACHE, persist_result=False)
def notify_support(run: RunContext) -> None:
    """Notify support of the month's open alerts, unless the address has accepted the same list before.

    A list counts as accepted only once the mail was taken: when the run dies here, or the mail fails, the
    next run of the month sends it. A dry run notifies no one. A mail that fails ends no run.
    """
    if run.request.dry_run:
        return
    # Runs side by side notify one after the other, so that the second sees what the first has sent. It waits
    # no longer than one mail may take: a mail that comes twice is better than one that never comes.
    mine = _notifying.acquire(timeout=TOTAL_SECONDS)
    try:
        _notify_if_new(run)
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
