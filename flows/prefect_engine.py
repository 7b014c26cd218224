"""Run the flow under Prefect's engine, in bounded time whatever Prefect does.

A caller waits for Prefect twice: until Prefect has begun the flow, and, after the ledger has closed the run,
until Prefect has stored report and state. Each wait takes several requests with retries. The settings of
Prefect's client limit the time of one request. The flow has a thread of its own, so that the caller can stop
waiting. Such a flow stays in its thread: canceling it would call the API for just as long.
"""

import asyncio
import logging
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict
from functools import wraps
from typing import Any

from prefect.client.orchestration import get_client
from prefect.events.clients import PrefectCloudEventsClient, PrefectEventsClient
from prefect.events.worker import EventsWorker, emit_events_to_cloud
from prefect.runtime import flow_run
from prefect.settings import get_current_settings, temporary_settings

from core.domain import OrchestratorUnreachable
from core.run import RunContext
from core.runtime import POLL_SECONDS, host_of, in_thread
from flows.flow_run import describe_fault, show_logs_in_ui
from flows.monthly_risk_alerts import monthly_risk_alerts, run_stages

PROBE_SECONDS = 8
"""The longest that a Prefect API may take to answer a health check."""
BEGIN_SECONDS = 60
"""The longest that Prefect may take to begin a flow, all attempts included."""
FINISH_SECONDS = 15
"""The longest that the answer of a closed run waits for Prefect to store its report and its state."""
DRAIN_SECONDS = 5
"""The longest that the end of the process waits for Prefect to store the last events and logs."""
REQUEST_BOUNDS = {"client.max_retries": 4, "api.request_timeout": 10.0}
"""Bounds of one request to a Prefect that stops answering; the operator's settings win.

The waits of a request for a busy Prefect are 2, 4, 8 and 16 s; the fifth wait of the defaults, 32 s, would go
beyond `BEGIN_SECONDS`.
"""

logger = logging.getLogger(__name__)


def configured_api() -> str | None:
    """Return the URL of the Prefect API that the environment or the active profile names."""
    return get_current_settings().api.url


def run_with_prefect(run: RunContext, url: str) -> None:
    """Run the stages of `run` as the flow, under the engine of the API at `url`, until the run is over.

    Raises the error of a failed run; or, when nothing was begun, `OrchestratorUnreachable`, or `Interrupted`
    if the run was stopped.
    """
    # `begun` is canceled below if Prefect takes too long; a flow that starts later then does nothing.
    begun: Future[None] = Future()

    # Prefect only shows the parameters; the flow takes them from `run`.
    @wraps(monthly_risk_alerts.fn)
    async def work(*_: Any, **__: Any) -> str:
        show_logs_in_ui()
        run.flow_run_id = flow_run.id
        if not begun.set_running_or_notify_cancel():
            raise OrchestratorUnreachable("Prefect began this run too late: no caller waits for it")
        begun.set_result(None)
        await run_stages(run)
        return run.run_id

    # A retry would be another run, after the caller has the answer of this one.
    flow = monthly_risk_alerts.with_options(retries=0)
    flow.fn = work
    keep_prefect_quiet()
    probe(url)
    # By default, Prefect tries each event eleven times, and sends all events to the first API of the process.
    client = PrefectCloudEventsClient if emit_events_to_cloud() else PrefectEventsClient
    EventsWorker.set_client_override(client, api_url=url, reconnection_attempts=1)
    with temporary_settings(set_defaults=REQUEST_BOUNDS):
        ended = in_thread(lambda: asyncio.run(flow(**asdict(run.request))), "flow")
    # In steps, so that a stop ends the wait.
    for _ in range(int(BEGIN_SECONDS / POLL_SECONDS)):
        if run.stop_requested or wait({begun, ended}, POLL_SECONDS, FIRST_COMPLETED).done:
            break
    if begun.cancel():
        run.check_stop()
        why = describe_fault(ended.exception() if ended.done() else None, BEGIN_SECONDS)
        raise OrchestratorUnreachable(f"Prefect did not begin the run, and nothing was sent: {why}")
    wait({run.closed, ended}, return_when=FIRST_COMPLETED)
    wait({ended}, FINISH_SECONDS)
    if not run.closed.done():
        # The ledger could not begin the run.
        ended.result()
    error = ended.exception() if ended.done() else None
    if not ended.done() or error not in {None, run.closed.exception()}:
        why = describe_fault(error, FINISH_SECONDS)
        logger.warning("Prefect missed the end of run %s, which the ledger has (%s)", run.run_id, why)
    run.closed.result()


def keep_prefect_quiet() -> None:
    """Send Prefect's log to its UI alone, not to the log handlers and the terminal of this process."""
    prefects = logging.getLogger("prefect")
    prefects.propagate = False
    # Without any handler Python would print warnings.
    prefects.handlers = [logging.NullHandler()]
    for name in ("EventsWorker", "APILogWorker"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # Prefect would print what its log worker cannot send.
    logging.raiseExceptions = False


def probe(url: str, *, login: bool = False) -> None:
    """Raise `OrchestratorUnreachable` unless a Prefect API answers at `url` within `PROBE_SECONDS`.

    `login` also tries the key or the password, which a health check does not need.
    """
    try:
        asyncio.run(_check_health(url, login=login))
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the address or with what answers there
        raise OrchestratorUnreachable(
            f"No Prefect API answers at PREFECT_API_URL (host {host_of(url)}):"
            f" {describe_fault(error, PROBE_SECONDS)};"
            " start it, correct PREFECT_API_URL or the Prefect profile, or remove the URL to run without it"
        ) from None


async def _check_health(url: str, *, login: bool) -> None:
    """Check the API with Prefect's own client, so that certificates and headers are checked as well."""
    with temporary_settings({"client.max_retries": 0, "api.url": url}):
        async with asyncio.timeout(PROBE_SECONDS), get_client() as client:
            answer = await client.request("GET", "/health")
            if answer.text != "true":
                raise ValueError("the answer does not come from a Prefect API, whose URL ends in /api")
            if login:
                await client.read_flows(limit=1)


def drain() -> None:
    """Send the events and logs that Prefect's background workers still hold, within `DRAIN_SECONDS`.

    By default, the end of the process waits for the retries of each event: a minute if the API has died.
    """
    # Only this private registry, which all workers of Prefect share, gives access to the tasks to cancel.
    workers = list(EventsWorker._instances.values())  # type: ignore[misc]  # noqa: SLF001
    sending = [(worker._loop, worker._task) for worker in workers]  # noqa: SLF001
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
    for loop, task in sending:
        if loop and task:
            loop.call_soon_threadsafe(task.cancel)
