"""The run's own record: what became of each alert that it saw."""

import logging
from collections import Counter

from prefect import task
from prefect.cache_policies import NO_CACHE

from core.domain import Delivery
from core.run import Run

logger = logging.getLogger(__name__)


@task(name="persist", cache_policy=NO_CACHE, persist_result=False)
def persist(run: Run) -> dict[str, Delivery]:
    """Read back what the ledger holds of this run's alerts, by account_id.

    Each delivery was stored as it happened; what follows works from the stored record, never from memory.
    """
    deliveries = run.ledger.deliveries(run.run_id)
    statuses = Counter(delivery.status.value for delivery in deliveries.values())
    logger.info("Recorded %d alerts: %s", len(deliveries), dict(statuses) or "none at risk")
    return deliveries
