"""What the Prefect UI shows of a run: a report and a table of its alerts."""

import asyncio
import logging
from typing import Any

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from core.errors import RiskAlertsError
from core.history import History
from core.message import one_line
from core.views import AlertView, RunView
from flows.orchestrator import prefect_missed, run_is_over

PUBLISH_SECONDS = 5
"""The longest that a run waits for Prefect to take its report, both parts of it."""

TABLE_ROWS = 5000
"""As many alerts as a table shows; the ledger keeps them all."""

logger = logging.getLogger(__name__)


async def publish_report(history: History, run_id: str) -> None:
    """Show the stored run, which is over, as artifacts of the current flow run.

    A report that Prefect does not take is logged and no more: the ledger holds what it would have shown.
    """
    run_is_over(run_id)
    try:
        run = history.run(run_id)
        alerts = history.alerts(run_id, None, TABLE_ROWS, None).alerts
        async with asyncio.timeout(PUBLISH_SECONDS):
            await acreate_markdown_artifact(report(run), key="risk-alerts-report", description=title(run))
            if alerts:
                await acreate_table_artifact(table(alerts), key="risk-alerts", description=title(run))
    except RiskAlertsError as error:
        logger.warning("No report: %s", error)
    except Exception as error:  # noqa: BLE001  # whatever Prefect raises, the run is over and recorded
        prefect_missed("the report", run_id, error)


def title(run: RunView) -> str:
    """Name a run in one line."""
    return f"Risk alerts {run.month:%Y-%m}{' (dry run)' if run.dry_run else ''}"


def report(run: RunView) -> str:
    """Write the run as Markdown: how it ended, its counts, what needs a person."""
    lines = [
        f"# {title(run)}: {run.status.value}",
        "",
        f"Run `{run.run_id}` read `{_cell(run.source_uri)}`"
        + (f" (`{_cell(run.source_version)}`)." if run.source_version else "."),
        "",
    ]
    if run.error:
        lines += [f"**{run.error.code}**: {_cell(run.error.message)}", ""]
    lines += [f"- **{warning.code}**: {_cell(warning.message)}" for warning in run.warnings]
    lines += ["", "| count | |", "|---|---:|"]
    lines += [f"| {name} | {number:,} |" for name, number in run.counts.model_dump().items()]
    if run.sample_errors:
        lines += ["", "## Not delivered", "", "| account | channel | reason | error |", "|---|---|---|---|"]
        for item in run.sample_errors:
            cells = (item.account_id, item.channel, item.reason, item.error)
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
        lines += ["", f"`GET /runs/{run.run_id}/alerts?status=failed` lists them all."]
    return "\n".join(lines) + "\n"


def table(alerts: list[AlertView]) -> list[dict[str, Any]]:
    """Give the alerts as rows of a table artifact."""
    return [
        {
            "account": one_line(alert.account_name),
            "account_id": one_line(alert.account_id),
            "region": one_line(alert.account_region or ""),
            "months": alert.duration_months,
            "since": alert.risk_start_month.isoformat(),
            "arr": alert.arr,
            "channel": alert.channel,
            "status": alert.status.value,
            "reason": alert.reason,
        }
        for alert in alerts
    ]


def _cell(text: str | None) -> str:
    """Keep data from ending a table cell or a code span."""
    return one_line(text or "").replace("|", "\\|").replace("`", "'")
