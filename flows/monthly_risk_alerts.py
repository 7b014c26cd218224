"""A whole run: find the accounts At Risk in a month, send their alerts, record the results."""

from prefect import flow
from prefect.runtime import flow_run

from core.alerts import each_alert
from core.domain import Month, RunRequest
from core.run import RunContext, open_run, prepare_run, utc_now
from core.runtime import load_settings
from flows.artifacts import publish_report
from flows.flow_run import month_or_scheduled, name_flow_run, run_stage, show_logs_in_ui
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
    month: Month | None = None,
    dry_run: bool = False,  # noqa: FBT001, FBT002  # Prefect's parameters go by name
    retry_unconfirmed: bool = False,  # noqa: FBT001, FBT002
) -> str:
    """Post one alert per account to the channel of its region; safe to run again at any time.

    Args:
        source_uri: A Parquet file or a folder of them, at file://, gs:// or s3://.
        month: The first day of the month; by default the month of the run's scheduled start.
        dry_run: Do everything except sending; write no outcome and notify no one.
        retry_unconfirmed: Also send unconfirmed alerts, which an earlier run may have delivered.

    Returns the run_id under which the ledger keeps the run.
    """
    show_logs_in_ui()
    request = RunRequest(source_uri, month_or_scheduled(month), dry_run, retry_unconfirmed)
    run = prepare_run(request, load_settings())
    run.flow_run_id = flow_run.id
    await run_stages(run)
    return run.run_id


async def run_stages(run: RunContext) -> None:
    """Run the stages of a run, as Prefect tasks if the run has a flow run.

    The ledger records the run before the first stage; an error of a stage closes it as failed.
    """
    request, settings = run.request, run.settings
    try:
        with open_run(run):
            if not request.dry_run:
                settings.require_slack()
            window = await run_stage(run, load_window, request.source_uri, request.month, settings)
            winners = await run_stage(run, dedupe, window.rows)
            assessment = await run_stage(run, compute_streaks, window, winners, settings)
            routed = await run_stage(run, route, assessment.alerts, settings)
            limit = settings.max_alerts_per_run
            to_send = run.ledger.plan(run.run_id, assessment, each_alert(routed), limit, utc_now())
            await run_stage(run, send, run, to_send)
            await run_stage(run, persist, run)
            await run_stage(run, notify_support, run)
    finally:
        await publish_report(run)


if __name__ == "__main__":
    # The same as `risk-alerts run`. `flows` must not import `cli`, which is a layer above it.
    import runpy
    import sys

    sys.argv.insert(1, "run")
    runpy.run_module("cli", run_name="__main__")
