"""A flow run of Prefect: its month, its name, its stages and its log."""

import logging
from datetime import UTC, date, datetime, tzinfo
from functools import wraps
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import httpx
from prefect import Task
from prefect.client.orchestration import get_client
from prefect.context import FlowRunContext
from prefect.logging.handlers import APILogHandler
from prefect.runtime import deployment, flow_run
from prefect.utilities.annotations import quote

from core.domain import RiskAlertsError, one_line
from core.run import RunContext, known_error
from core.runtime import STEP_SECONDS, mask_record, redact


def name_flow_run() -> str:
    """Return the name of the flow run: month and source."""
    parameters = flow_run.parameters
    month = month_or_scheduled(parameters.get("month"))
    dry_run = " (dry run)" if parameters.get("dry_run") else ""
    return f"{month:%Y-%m} {redact(parameters['source_uri'])}{dry_run}"


def month_or_scheduled(month: date | None) -> date:
    """Return the given month, else the month of the scheduled start, even if the run starts later."""
    if month is not None:
        return month
    scheduled: datetime = flow_run.scheduled_start_time
    return scheduled.astimezone(schedule_zone(deployment.id)).date().replace(day=1)


def schedule_zone(deployment_id: str | None) -> tzinfo:
    """Return the time zone of the deployment's schedules, active or not; UTC if there are none or several.

    At 00:30 on the 1st in Tokyo, UTC is still in the month before. Errors of Prefect pass through.
    """
    if deployment_id is None:
        return UTC
    with get_client(sync_client=True) as client:
        schedules = client.read_deployment(UUID(deployment_id)).schedules
    zones = {getattr(known.schedule, "timezone", None) or "UTC" for known in schedules}
    return ZoneInfo(zones.pop()) if len(zones) == 1 else UTC


async def run_stage(run: RunContext, stage: Task[..., Any], *args: Any) -> Any:
    """Run a stage as a task of the flow run, or as a plain function without one; measure its seconds."""

    @wraps(stage.fn)
    async def call(*args: Any) -> Any:
        try:
            result = stage.fn(*args)
            return await result if stage.isasync else result
        except RiskAlertsError:
            raise
        except Exception as error:
            # Prefect stores the text of the error, so its secrets are masked here.
            raise known_error(run, error) from error

    with STEP_SECONDS.labels(stage.name).time():
        if run.flow_run_id is None:
            return await call(*args)
        # By default, Prefect hashes and stores tables, and searches alerts for futures. `quote` passes an
        # argument by reference. No stage is retried, whatever Prefect's settings say, because a run claims
        # each alert only once.
        task = stage.with_options(persist_result=False, retries=0)
        task.fn, task.isasync = call, True  # `call` is a coroutine function, also for a synchronous stage
        return await task(*map(quote, args))


def show_logs_in_ui() -> None:
    """Show the log lines of a flow run in the Prefect UI, with secrets masked; safe to call again."""
    handler = APILogHandler()
    # Prefect would print a warning for each line outside of a flow run.
    handler.addFilter(lambda _: FlowRunContext.get() is not None)
    for logger in map(logging.getLogger, ("core", "flows", "tasks")):
        if not any(isinstance(known, APILogHandler) for known in logger.handlers):
            logger.addHandler(handler)
        logger.setLevel(logger.level or logging.INFO)
    # Prefect's own loggers show the text of an exception.
    for masked in (handler, *map(logging.getLogger, ("prefect.flow_runs", "prefect.task_runs"))):
        masked.addFilter(mask_record)


def describe_fault(error: BaseException | None, seconds: float) -> str:
    """Return one line about an error of Prefect; None and a timeout mean no answer in `seconds`."""
    if error is None or isinstance(error, TimeoutError):
        return f"no answer in {seconds:g} s"
    # An error such as `ObjectNotFound` has no text of its own.
    error = getattr(error, "http_exc", error)
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        advice = "; check PREFECT_API_KEY, PREFECT_API_AUTH_STRING" if status in {401, 403} else ""
        return f"HTTP {status}{advice}"
    return one_line(redact(str(error))).strip() or "no reason given"
