"""The run's own record: what became of each alert, and how the run adds up."""

import logging
from collections import Counter

from prefect import task
from prefect.cache_policies import NO_CACHE

from core.domain import Delivery
from core.run import RunContext

logger = logging.getLogger(__name__)


@task(name="persist", cache_policy=NO_CACHE, persist_result=False)
def persist(run: RunContext) -> dict[str, Delivery]:
    """Store the counts of the run, and return what the ledger holds of its alerts, by account_id.

    Each delivery was stored as it happened; the counts and what follows come from there, never from memory.
    """
    deliveries = run.ledger.record_result(run.run_id)
    statuses = Counter(delivery.status.value for delivery in deliveries.values())
    logger.info("Recorded %d alerts: %s", len(deliveries), dict(statuses) or "none at risk")
    return deliveries
