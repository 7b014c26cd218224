"""The tags, the report and the table of alerts of a closed run in the Prefect UI."""

import asyncio
import logging
from collections.abc import Container, Iterable, Sequence
from typing import Any
from uuid import UUID

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from core.alerts import AlertView, open_by_reason
from core.ledger import ChannelTable, RunView
from core.run import RunContext
from core.runtime import money, one_line, shown_region
from flows.prefect_engine import describe_fault

PUBLISH_SECONDS = 5
"""The longest that a run waits for Prefect to store its report."""
SHOWN_OF_A_REASON = 10
"""How many alerts of each reason are in the report; the API has them all."""
TABLE_ROWS = 5000
"""How many alerts the table shows; the ledger has them all."""
TABLE_COLUMNS = (
    *("account_name", "account_id", "alert_type", "account_region", "duration_months", "risk_start_month"),
    *("arr", "channel", "status", "reason"),
)

logger = logging.getLogger(__name__)


async def publish_report(run: RunContext) -> None:
    """Publish a closed run, as the ledger has it, in its flow run; a failure is only logged."""
    if run.flow_run_id is None:
        return
    try:
        async with asyncio.timeout(PUBLISH_SECONDS):
            await _publish(run, run.ledger.history.run(run.run_id))
    except Exception as error:  # noqa: BLE001  # whatever Prefect raises, the run is over and recorded
        why = describe_fault(error, PUBLISH_SECONDS)
        logger.warning("Prefect missed the report of run %s, which the ledger has (%s)", run.run_id, why)


async def _publish(run: RunContext, stored: RunView) -> None:
    history = run.ledger.history
    alerts = history.alerts(run.run_id).alerts
    # Tags come last, because tasks would inherit the tags of their flow run and wait for a slot of each.
    regions = len(run.settings.regions)
    tags = {*flow_run.tags, f"{stored.month:%Y-%m}", f"{regions} region{'' if regions == 1 else 's'}"}
    async with get_client() as client:
        await client.update_flow_run(UUID(run.flow_run_id), tags=sorted(tags))
    markdown = report(stored, history.channels(run.run_id), alerts)
    await acreate_markdown_artifact(markdown, key="risk-alerts-report", description=stored.title)
    if alerts:
        await acreate_table_artifact(_rows(alerts[:TABLE_ROWS]), key="risk-alerts", description=stored.title)


def report(run: RunView, channels: ChannelTable, alerts: Sequence[AlertView]) -> str:
    """Return the run as Markdown: its result, its channels, and the alerts that need a person."""
    version = f" (`{_cell(run.source_version)}`)" if run.source_version else ""
    lines = [f"# {run.title}: {run.status.value}", ""]
    lines += [f"Run `{run.run_id}` read `{_cell(run.source_uri)}`{version}.", ""]
    if run.error:
        lines += [f"**{run.error.code}**: {_cell(run.error.message)}", ""]
    lines += [f"- **{warning.code}**: {_cell(warning.message)}" for warning in run.warnings]
    if channels.rows:
        rows = [(label, *(str(number or "") for number in numbers)) for label, numbers in channels.rows]
        lines += ["", "## By channel", *_table(("channel", *channels.columns), rows, channels.columns)]
    lines += _open(alerts)
    # A column for each alert type where there are several.
    by_type = run.counts_by_type if len(run.counts_by_type) > 1 else {}
    columns = ("all", *by_type)
    counts = [
        (label, f"{number:,}", *(f"{getattr(of_type, name):,}" for of_type in by_type.values()))
        for name, label, number in run.labeled_counts
    ]
    lines += ["", "## Counts", *_table(("count", *columns), counts, columns)]
    lines += ["", f"All of it: `GET /runs/{run.run_id}` and `/runs/{run.run_id}/alerts` of the API."]
    return "\n".join(lines) + "\n"


def _open(alerts: Sequence[AlertView]) -> list[str]:
    """Return the lines of failed and unconfirmed alerts, by reason, with what to do."""
    by_reason = open_by_reason(alerts)
    lines = ["", "## Not delivered"] if by_reason else []
    for reason, advice, those in by_reason:
        lines += ["", f"**{_cell(reason)}** ({len(those):,}): {advice}."]
        rows = [
            (one.label, shown_region(one.account_region), one.channel or "-", money(one.arr), one.why)
            for one in those[:SHOWN_OF_A_REASON]
        ]
        lines += _table(("account", "region", "channel", "ARR", "error"), rows, ("ARR",))
        if len(those) > SHOWN_OF_A_REASON:
            lines += ["", f"… and {len(those) - SHOWN_OF_A_REASON:,} more."]
    return lines


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Container[str]) -> list[str]:
    """Return a table of any text after a blank line; the columns in `right` hold numbers."""
    head, *body = (f"| {' | '.join(map(_cell, row))} |" for row in (columns, *rows))
    aligned = "|".join("---:" if column in right else "---" for column in columns)
    return ["", head, f"|{aligned}|", *body]


def _rows(alerts: Sequence[AlertView]) -> list[dict[str, Any]]:
    rows = (alert.model_dump(mode="json") for alert in alerts)
    return [
        {name: one_line(value) if isinstance(value := row[name], str) else value for name in TABLE_COLUMNS}
        for row in rows
    ]


def _cell(text: str) -> str:
    """Return data that cannot end a table cell or a code span."""
    return one_line(text).replace("|", "\\|").replace("`", "'")
