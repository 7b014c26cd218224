"""The report and the table of alerts of a closed run in the Prefect UI."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Any

from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact

from core.alerts import AlertView, OpenReason
from core.domain import one_line
from core.ledger import ChannelTable, RunView
from core.run import RunContext
from flows.flow_run import describe_fault

PUBLISH_SECONDS = 5
"""The longest that a run waits for Prefect to store its report."""
TABLE_ROWS = 5000
"""How many alerts the table shows; the ledger has them all."""
NOT_IN_TABLE = {"renewal_date", "account_owner", "attempts", "sent_at"}

logger = logging.getLogger(__name__)


async def publish_report(run: RunContext) -> None:
    """Publish the report of a closed run, read from the ledger, in its flow run; only log a failure."""
    if run.flow_run_id is None or not run.closed.done():
        return
    try:
        async with asyncio.timeout(PUBLISH_SECONDS):
            history = run.ledger.history
            stored, alerts = history.run(run.run_id), history.alerts(run.run_id, limit=TABLE_ROWS).alerts
            markdown = report(stored, history.channels(run.run_id), history.open_of(run.run_id, 0))
            await acreate_markdown_artifact(markdown, key="risk-alerts-report", description=stored.title)
            if alerts:
                rows = list(map(table_row, alerts))
                await acreate_table_artifact(rows, key="risk-alerts", description=stored.title)
    except Exception as error:  # noqa: BLE001  # whatever Prefect raises, the run is over and recorded
        why = describe_fault(error, PUBLISH_SECONDS)
        logger.warning("Prefect missed the report of run %s, which the ledger has (%s)", run.run_id, why)


def table_row(alert: AlertView) -> dict[str, Any]:
    """Return an alert as a row of the table."""
    found = alert.model_dump(mode="json", exclude=NOT_IN_TABLE)
    return {name: _inert(value) if isinstance(value, str) else value for name, value in found.items()}


def report(run: RunView, channels: ChannelTable, open_reasons: Sequence[OpenReason]) -> str:
    """Return the run as Markdown: its result, its channels, and what to do about open alerts."""
    version = f" (`{_cell(run.source_version)}`)" if run.source_version else ""
    lines = [f"# {run.title}: {run.status.value}", ""]
    lines += [f"Run `{run.run_id}` read `{_cell(run.source_uri)}`{version}.", ""]
    if run.error:
        lines += [f"- **{run.error.code}**: {_cell(run.error.message)}"]
    lines += [f"- **{warning.code}**: {_cell(warning.message)}" for warning in run.warnings]
    if channels.rows:
        lines += ["", "## By channel", *_table(("channel", *channels.columns), channels.texts)]
    if open_reasons:
        lines += ["", "## Failed or unconfirmed", ""]
        lines += [f"- **{_cell(one.reason)}** ({one.number:,}): {one.advice}." for one in open_reasons]
    counts = [(label, f"{number:,}") for _, label, number in run.counts.labeled(run.alert_types)]
    lines += ["", "## Counts", *_table(("count", "number"), counts)]
    lines += ["", f"All of it: `GET /runs/{run.run_id}` and `/runs/{run.run_id}/alerts` of the API."]
    return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table of any text after a blank line; all columns but the first hold numbers."""
    head, *body = (f"| {' | '.join(map(_cell, row))} |" for row in (columns, *rows))
    return ["", head, f"|---{'|---:' * (len(columns) - 1)}|", *body]


def _cell(text: str) -> str:
    """Return data that cannot end a table cell or a code span."""
    return _inert(text).replace("|", "\\|").replace("`", "'")


def _inert(text: str) -> str:
    """Return data that has no image and no HTML as Markdown, so that a browser that shows it loads nothing.

    One UI of Prefect shows the cells of its tables as Markdown, the other as they are. The word joiner
    (U+2060) is invisible in both.
    """
    return one_line(text).replace("<", "<\u2060").replace("](", "]\u2060(")
