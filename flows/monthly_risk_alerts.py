"""The story of a run: who is At Risk this month, for how long, and who was told."""

from datetime import date

from flows.checked_prefect import flow  # first: it ends a process that Prefect can't start in
from flows.flow_run import name_flow_run, recorded_run, unwalked
from flows.steps import timed, timed_async
from tasks.compute_streaks import compute_streaks
from tasks.dedupe import dedupe
from tasks.load_window import load_window
from tasks.notify_support import notify_support
from tasks.persist import persist
from tasks.route import route
from tasks.send import send


@flow(name="monthly-risk-alerts", flow_run_name=name_flow_run, persist_result=False)
async def monthly_risk_alerts(
    source_uri: str,
    month: date | None = None,
    dry_run: bool = False,  # noqa: FBT001, FBT002  # Prefect's parameters go by name
    retry_unconfirmed: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Alert each region's channel on its At Risk accounts, once; safe to run again at any time.

    Args:
        source_uri: A Parquet file or a folder of them, at file://, gs:// or s3://.
        month: The first day of the month; by default the month of the run's scheduled start.
        dry_run: Do all but send; writes no outcome and notifies no one.
        retry_unconfirmed: Also send alerts again that an earlier run may have delivered.

    Returns the run_id under which the ledger keeps the run.
    """
    async with recorded_run(source_uri, month, dry_run=dry_run, retry_unconfirmed=retry_unconfirmed) as run:
        window = timed(load_window)(source_uri, run.request.month, run.settings)
        winners = timed(dedupe)(window)
        assessment = timed(compute_streaks)(window, winners, run.settings)
        routed = timed(route)(unwalked(assessment.alerts), run.settings)
        await timed_async(send)(run, unwalked(assessment), unwalked(routed))
        deliveries = timed(persist)(run)
        timed(notify_support)(run, unwalked(routed), unwalked(deliveries))
    return run.run_id


if __name__ == "__main__":
    import sys

    from flows.command_line import main

    sys.exit(main())
