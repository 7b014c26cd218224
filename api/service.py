"""The application: its endpoints, its middleware, and the resources of its lifetime."""

import asyncio
import gc
import logging
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline

from api import operations, outcomes, runs
from api.admission import Admission
from api.middleware import Gateway
from api.problems import PROBLEM, add_error_handlers
from core import __version__
from core.domain import LedgerError
from core.ledger import container_warning, open_ledger
from core.run import utc_now
from core.runtime import Settings, configure_logs, stopped_by_signals
from flows.prefect_engine import drain

WAITING_FOR_EACH = 3
"""How many runs may wait for each that is in progress: one may take an hour."""
PREVIEWS_AT_ONCE, PREVIEWS_WAITING = 2, 254
"""Previews mostly decode: more of them at once would hardly be faster, and would delay other answers."""
READERS_AT_ONCE = 3
"""Threads that read the ledger for an answer; more would wait for the interpreter, and delay others."""
SWITCH_SECONDS = 0.0005
"""How long a thread may compute while others wait for the interpreter: a tenth of Python's default, because
`/health` waits for it several times."""

logger = logging.getLogger(__name__)

DESCRIPTION = """
Finds the accounts that are At Risk in a month and since when, and alerts each region's Slack channel once.
It is safe to run a month again: sent alerts are skipped, and those that were not delivered are retried.
"""


def create_app(settings: Settings) -> FastAPI:
    """Return the API for these settings."""
    # Uvicorn's own lines too: in the same format, and tracebacks without secrets.
    configure_logs(settings, taken_over=("fastapi", "uvicorn", "uvicorn.error", "uvicorn.access"))
    token = settings.api_token.get_secret_value() if settings.api_token else None
    # FastAPI's own page loads its scripts from the internet, which a customer's network may not reach.
    app = FastAPIOffline(
        redoc_url=None,
        title="Account Risk Alerts",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan,
        generate_unique_id_function=lambda route: route.name,  # the operation has the name of its function
        redirect_slashes=False,  # a path with a slash too many is unknown
        responses={"default": PROBLEM},
    )
    app.state.settings = settings
    warning = container_warning(settings.database_url)
    app.state.warnings = [warning] if warning else []
    # For the documentation: the gateway checks the token.
    needs_token = [Depends(HTTPBearer(auto_error=False))] if token else []
    for module in (runs, outcomes, operations):
        app.include_router(module.router, dependencies=needs_token)
    app.include_router(operations.open_router)
    add_error_handlers(app)
    app.add_middleware(Gateway, token=token)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    try:
        open_ledger(state.settings.database_url).close_dead_runs(utc_now())
    except LedgerError as error:
        # For `/health` to report: the API runs on, and the ledger may come back.
        logger.error("%s", error)
    runs_at_once = state.settings.api_runs_at_once
    state.runs = Admission("run", runs_at_once, WAITING_FOR_EACH * runs_at_once)
    state.previews = Admission("preview", PREVIEWS_AT_ONCE, PREVIEWS_WAITING)
    state.checks = ThreadPoolExecutor(1, thread_name_prefix="health")
    to_thread.current_default_thread_limiter().total_tokens = READERS_AT_ONCE
    sys.setswitchinterval(SWITCH_SECONDS)
    # Keep the imported modules out of garbage collection.
    gc.freeze()
    with stopped_by_signals():
        yield
    # In threads: runs still need the loop's callbacks, and Prefect's own end must have no loop around it.
    for threads in (state.runs, state.previews, state.checks):
        await asyncio.to_thread(threads.shutdown)
    await asyncio.to_thread(drain)
