"""What the Prefect UI shows of a run: its tags, its progress, a report and a table of its alerts."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import UUID

from prefect.artifacts import (
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.runtime import flow_run

from core.advice import open_by_reason
from core.domain import AlertStatus
from core.errors import RiskAlertsError
from core.history import History
from core.progress import Progress, settled_of_all
from core.run import utc_now
from core.runtime import money, one_line
from core.settings import Settings
from core.views import AlertView, ChannelView, RunView
from flows.orchestrator import prefect_missed, run_is_over

PUBLISH_SECONDS = 5
"""The longest that a run waits for Prefect to take its report, both parts of it."""

SHOWN_OF_A_REASON = 10
"""So many alerts of each reason are in the report; the API has them all."""

PROGRESS_SECONDS = 3
"""How often a sending shows its progress; one that is over by then shows none."""

TABLE_ROWS = 5000
"""As many alerts as a table shows; the ledger keeps them all."""

logger = logging.getLogger(__name__)


async def publish_report(history: History, run_id: str, settings: Settings) -> None:
    """Show the stored run, which is over, as artifacts of the current flow run.

    A report that Prefect does not take is logged and no more: the ledger holds what it would have shown.
    """
    run_is_over(run_id)
    try:
        run = history.run(run_id)
        alerts = history.alerts(run_id, None, TABLE_ROWS, None).alerts
        channels = history.channels(run_id)
        not_delivered = [
            alert
            for status in (AlertStatus.FAILED, AlertStatus.UNCONFIRMED)
            for alert in history.alerts(run_id, status, TABLE_ROWS, None).alerts
        ]
        async with asyncio.timeout(PUBLISH_SECONDS):
            await _tag_flow_run(run, len(settings.regions))
            await acreate_markdown_artifact(
                report(run, channels, not_delivered), key="risk-alerts-report", description=title(run)
            )
            if alerts:
                await acreate_table_artifact(table(alerts), key="risk-alerts", description=title(run))
    except RiskAlertsError as error:
        logger.warning("No report: %s", error)
    except Exception as error:  # noqa: BLE001  # whatever Prefect raises, the run is over and recorded
        prefect_missed("the report", run_id, error)


async def _tag_flow_run(run: RunView, regions: int) -> None:
    """Tag the flow run with the run's month and how many regions have a channel.

    At the end, with the report: the tags of a context would be its tasks' too, each of which would then ask
    for a place among those of its tag.
    """
    tags = [f"{run.month:%Y-%m}", f"{regions} region{'' if regions == 1 else 's'}"]
    async with get_client() as client:
        await client.update_flow_run(UUID(flow_run.id), tags=sorted({*flow_run.tags, *tags}))


@asynccontextmanager
async def published_progress(progress: Progress) -> AsyncIterator[None]:
    """Show how far a long sending is while the context lasts; a Prefect that is gone costs three seconds."""
    publishing = asyncio.create_task(_publish_progress(progress))
    try:
        yield
    finally:
        publishing.cancel()
        await asyncio.wait({publishing})


async def _publish_progress(progress: Progress) -> None:
    artifact: UUID | None = None

    async def publish() -> None:
        nonlocal artifact
        percent, words = progress_of(progress)
        if artifact is None:
            artifact = await acreate_progress_artifact(percent, "risk-alerts-progress", words)
        else:
            await aupdate_progress_artifact(artifact, percent, words)

    with suppress(Exception):
        try:
            while True:
                await asyncio.sleep(PROGRESS_SECONDS)
                if progress.now()[1]:
                    await publish()
        finally:
            if artifact:
                async with asyncio.timeout(PROGRESS_SECONDS):
                    await publish()


def progress_of(progress: Progress) -> tuple[float, str]:
    """Give the percentage of a run's alerts that are settled, and a line about them."""
    _, channels = progress.now()
    settled, total = settled_of_all(channels)
    words = f"{settled:,} of {total:,} alerts settled"
    for name, one in channels.items():
        if one.waits_until and one.waits_at(utc_now()):
            words += f"; {one_line(name)} waits for Slack until {one.waits_until:%H:%M:%S} UTC"
    return 100 * settled / total if total else 100.0, words


def title(run: RunView) -> str:
    """Name a run in one line."""
    return f"Risk alerts {run.month:%Y-%m}{' (dry run)' if run.dry_run else ''}"


def report(run: RunView, channels: Sequence[ChannelView], not_delivered: Sequence[AlertView]) -> str:
    """Write the run as Markdown: how it ended, what went where, and which alerts need a person."""
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
    lines += _by_channel(channels) + _open(not_delivered)
    lines += ["", "## Counts", "", "| count | |", "|---|---:|"]
    lines += [f"| {name} | {number:,} |" for name, number in run.counts.model_dump().items()]
    lines += [
        "",
        f"The service's API has all of it: `GET /runs/{run.run_id}` and `/runs/{run.run_id}/alerts`.",
    ]
    return "\n".join(lines) + "\n"


def _by_channel(channels: Sequence[ChannelView]) -> list[str]:
    if not channels:
        return []
    shown = [status for status in AlertStatus if any(one.alerts.get(status) for one in channels)]
    lines = ["", "## By channel", ""]
    lines += [f"| channel | {' | '.join(status.value.replace('_', ' ') for status in shown)} |"]
    lines += [f"|---|{'---:|' * len(shown)}"]
    for one in channels:
        numbers = " | ".join(str(one.alerts.get(status, "")) for status in shown)
        lines.append(f"| {_cell(one.channel or '(no channel)')} | {numbers} |")
    return lines


def _open(alerts: Sequence[AlertView]) -> list[str]:
    """List what was not delivered, or not surely, by reason, with what to do about it."""
    lines = ["", "## Not delivered"] if alerts else []
    for reason, advice, those in open_by_reason(alerts):
        lines += ["", f"**{_cell(reason)}** ({len(those):,}): {advice}.", ""]
        lines += ["| account | region | channel | ARR | error |", "|---|---|---|---:|---|"]
        for alert in those[:SHOWN_OF_A_REASON]:
            cells = (
                f"{alert.account_name} ({alert.account_id})",
                alert.account_region,
                alert.channel,
                money(alert.arr),
                alert.error,
            )
            lines.append(f"| {' | '.join(map(_cell, cells))} |")
        if len(those) > SHOWN_OF_A_REASON:
            lines += ["", f"… and {len(those) - SHOWN_OF_A_REASON:,} more."]
    return lines


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
