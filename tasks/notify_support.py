"""Send one mail about all open alerts of the month."""

import logging
import time

from prefect import task

from core.run import RunContext, utc_now
from core.runtime import POLL_SECONDS
from core.support import compose, notify

logger = logging.getLogger(__name__)


@task
def notify_support(run: RunContext) -> None:
    """Notify support of the month's open alerts, unless the address has accepted the same list before.

    A list is accepted when the mail server has accepted its mail. If the run dies or is stopped before that,
    or the mail fails, the next run of the month sends the list. A dry run notifies no one. A failed mail
    fails no run.
    """
    if run.request.dry_run:
        return
    settings = run.settings
    # Without a mail server the notification is only logged. An address that is configured later has accepted
    # nothing, so it gets the whole list.
    address = settings.support_email if settings.smtp_host else ""
    # Concurrent runs notify one after the other, so that the second run sees what the first one has sent.
    while not run.ledger.claim_notification(run.run_id, address):
        run.check_stop()
        time.sleep(POLL_SECONDS)
        run.ledger.close_dead_runs(utc_now())
    run.check_stop()
    found = run.ledger.history.open_alerts(run.request.month, address)
    if not found.alerts:
        return
    if found.notified:
        logger.info("Support was notified of the same %d open alerts before", len(found.alerts))
        return
    result = notify(compose(run.run_id, run.request, found.alerts), settings)
    run.ledger.record_notification(run.run_id, result, address=address, digest=found.digest)
