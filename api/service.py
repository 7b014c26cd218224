"""The application: its endpoints, its middleware, and the resources of its lifetime."""

import asyncio
import gc
import logging
import sys
import threading
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
from core.ledger import open_ledger
from core.run import utc_now
from core.runtime import Settings, configure_logs, stopped_by_signals
from flows.prefect_engine import drain

WAITING_FOR_EACH = 3
"""How many runs may wait for each one in progress. Few, because a run may take an hour."""
PREVIEWS_AT_ONCE, PREVIEWS_WAITING = 2, 254
"""A preview mostly computes: more at once would end no earlier, and would delay other answers."""
READERS_AT_ONCE = 3
"""Threads that read the ledger for answers. More threads would only compete for Python's GIL."""
SEARCH_SECONDS = 60
"""How often to search for runs whose process died."""
SWITCH_SECONDS = 0.0005
"""How long a thread may hold Python's GIL while others wait for it: a tenth of the default, because `/health`
needs the GIL several times."""

logger = logging.getLogger(__name__)

DESCRIPTION = """
Finds the accounts that are At Risk in a month, and posts one alert per account to its region's Slack channel.
It is safe to run a month again: sent alerts are skipped, and failed ones are retried.
"""


def create_app(settings: Settings) -> FastAPI:
    """Return the API for these settings."""
    # Uvicorn's lines get the same format, and secrets are masked in its tracebacks.
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
    database_url = state.settings.database_url
    _close_dead_runs(database_url)
    over = threading.Event()
    # A daemon, because a search may wait for a heartbeat, and the end of the API does not.
    threading.Thread(target=_search, args=[database_url, over], name="dead-runs", daemon=True).start()
    if missing := operations.missing_settings(state.settings):
        logger.warning("Not set: %s. Runs of this API send no alert until you set them", missing)
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
    over.set()
    # In threads, because runs still need this event loop, and `drain` would not wait inside of one.
    for threads in (state.runs, state.previews, state.checks):
        await asyncio.to_thread(threads.shutdown)
    await asyncio.to_thread(drain)


def _search(database_url: str, over: threading.Event) -> None:
    while not over.wait(SEARCH_SECONDS):
        _close_dead_runs(database_url)


def _close_dead_runs(database_url: str) -> None:
    try:
        open_ledger(database_url).close_dead_runs(utc_now())
    except LedgerError as error:
        # The API serves anyway: `/health` reports the error, and the ledger may come back.
        logger.error("%s", error)
