"""Record the counts of the run."""

import logging

from prefect import task

from core.run import RunContext

logger = logging.getLogger(__name__)


@task
def persist(run: RunContext) -> None:
    """Count the run's alerts by their rows in the ledger, and store the counts."""
    counts = run.ledger.record_result(run.run_id)
    logger.info("Run result: %s", counts.summary(run.settings.alert_types))
