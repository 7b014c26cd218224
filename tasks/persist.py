"""Record the counts of the run."""

import logging

from prefect import task

from core.run import RunContext

logger = logging.getLogger(__name__)


@task
def persist(run: RunContext) -> None:
    """Count the run's alerts in the ledger, never in memory, and store the counts."""
    counts = run.ledger.record_result(run.run_id)
    logger.info(
        "%d sent, %d skipped, %d failed, of them %d unconfirmed",
        counts.alerts_sent,
        counts.skipped_replay,
        counts.failed_deliveries,
        counts.unconfirmed,
    )
