"""What a run takes from Prefect and gives back to it: the month of its schedule, its name, its report."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime, tzinfo
from functools import lru_cache
from typing import TypeVar, cast
from uuid import UUID
from zoneinfo import ZoneInfo

from prefect.client.orchestration import get_client
from prefect.runtime import deployment, flow_run
from prefect.utilities.annotations import quote

from core.domain import RunRequest, check_month
from core.errors import InvalidRequest, SourceSchemeUnsupported
from core.ledger import open_ledger
from core.redaction import redact
from core.run import Run, new_run_id, open_run, requested_run_id
from core.settings import load_settings
from core.storage.location import parse_source
from flows.artifacts import publish_report, published_progress
from flows.orchestrator import note_flow_began, show_logs_in_ui

T = TypeVar("T")

when_begun: ContextVar[Callable[[], None] | None] = ContextVar("when_begun", default=None)
"""What whoever starts a run wants done once Prefect has begun it."""


def name_flow_run() -> str:
    """Name the flow run by month and source."""
    parameters = flow_run.parameters
    month = month_or_scheduled(parameters.get("month"))
    dry_run = " (dry run)" if parameters.get("dry_run") else ""
    return f"{month:%Y-%m} {redact(str(parameters.get('source_uri')))}{dry_run}"


def month_or_scheduled(month: date | None) -> date:
    """Give the month asked for, or that of the scheduled start: a late run is still of its month."""
    if month is not None:
        return month
    scheduled: datetime = flow_run.scheduled_start_time
    return scheduled.astimezone(schedule_zone(deployment.id)).date().replace(day=1)


@lru_cache(maxsize=1)
def schedule_zone(deployment_id: str | None) -> tzinfo:
    """Give the time zone of the deployment's schedules, active or not; UTC without one, or with several.

    A schedule at 00:30 on the 1st in Tokyo is of that month, although in UTC it is still the month before.
    Raises what Prefect raises when it does not tell: a guess could be the wrong month.
    """
    if deployment_id is None:
        return UTC
    with get_client(sync_client=True) as client:
        schedules = client.read_deployment(UUID(deployment_id)).schedules
    zones = {getattr(known.schedule, "timezone", None) or "UTC" for known in schedules}
    return ZoneInfo(zones.pop()) if len(zones) == 1 else UTC


def refuse_unstorable(source_uri: str) -> None:
    """Raise before the ledger or Prefect keeps a URI that may carry a secret, or that names nothing at all.

    One that is only of a scheme that we can't read is a run that fails, as with any other bad source.
    """
    try:
        parse_source(source_uri)
    except SourceSchemeUnsupported:
        if "@" in source_uri or "?" in source_uri or not source_uri.isprintable():
            raise


@asynccontextmanager
async def recorded_run(
    source_uri: str, month: date | None, *, dry_run: bool, retry_unconfirmed: bool
) -> AsyncIterator[Run]:
    """Check the flow's parameters, record the run from its beginning to its end, and show it in the UI.

    Raises before anything is begun: `InvalidRequest`, `SourceSchemeUnsupported`, `SettingsError`,
    `LedgerError`, or `OrchestratorUnreachable` when Prefect began it too late. Afterwards every error closes
    the run in the ledger as failed and goes on to Prefect.
    """
    if begun := when_begun.get():
        begun()
    note_flow_began()
    show_logs_in_ui()
    settings = load_settings()
    refuse_unstorable(source_uri)
    try:
        checked = check_month(month_or_scheduled(month))
    except ValueError as error:
        raise InvalidRequest(str(error)) from None
    request = RunRequest(source_uri, checked, dry_run, retry_unconfirmed)
    ledger = open_ledger(settings.database_url)
    run_id = requested_run_id.get() or new_run_id()
    try:
        with open_run(run_id, request, settings, ledger, flow_run.id) as run:
            run.check_stop()
            if not dry_run:
                settings.require_slack()
            async with published_progress(run.progress):
                yield run
    finally:
        # After the run was closed, also when it failed: the report is what the ledger says.
        await publish_report(ledger.history, run_id, settings)


def unwalked(value: T) -> T:
    """Hand a value to a task as it is: Prefect would walk thousands of alerts in search of futures."""
    # Prefect gives the task what is quoted; its types don't know that.
    return cast("T", quote(value))
