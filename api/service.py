"""The application: what lives as long as it does, and its parts put together."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from anyio import to_thread
from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from api import health, index, metrics, outcomes, runs
from api.admission import Admission
from api.answers import CompletedAnswers
from api.auth import OPEN_PATHS, Guard
from api.examples import add_examples
from api.limits import LimitedBody
from api.pages import routes
from api.problems import Problem, answer_with_problems, responses
from core import __version__
from core.domain import LedgerError
from core.ledger import is_dead, open_ledger, wait_for_heartbeats
from core.run import utc_now
from core.runtime import Settings, configure_logs, process_stop, stopped_by_signals
from flows.prefect_engine import drain

WAITING_FOR_EACH = 3
"""How many runs may wait for each that is worked on: one may take an hour, and its turn should come."""
PREVIEWS_AT_ONCE, PREVIEWS_WAITING = 4, 252
"""Previews mostly decode, so that more of them at once would hardly be sooner, and each has its turn soon."""
READERS_AT_ONCE = 8
"""Threads that read the ledger for an answer; more would wait for the interpreter, and hold others up."""

logger = logging.getLogger(__name__)

DESCRIPTION = """
Finds the accounts that are At Risk in a month, for how long, and tells each region's Slack channel, once.
Running a month again is safe: what was sent is skipped, what surely failed is tried again.
"""


def create_app(settings: Settings) -> FastAPI:
    """Put the API together for these settings."""
    # Uvicorn's own lines too: in the same format, and a traceback of a defect without its secrets.
    configure_logs(settings, taken_over=("fastapi", "uvicorn", "uvicorn.error", "uvicorn.access"))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        close_dead_runs(settings)
        runs_at_once = settings.api_runs_at_once
        app.state.runs = Admission("run", runs_at_once, WAITING_FOR_EACH * runs_at_once)
        app.state.previews = Admission("preview", PREVIEWS_AT_ONCE, PREVIEWS_WAITING)
        app.state.checks = ThreadPoolExecutor(1, thread_name_prefix="health")
        app.state.scrapes = ThreadPoolExecutor(1, thread_name_prefix="metrics")
        to_thread.current_default_thread_limiter().total_tokens = READERS_AT_ONCE
        # What is imported stays: the garbage collector need not walk through it again and again.
        gc.freeze()
        with stopped_by_signals(process_stop):
            yield
        # In threads: runs still need the loop's callbacks, and Prefect's own end wants no loop around it.
        await asyncio.to_thread(app.state.runs.shutdown)
        await asyncio.to_thread(app.state.previews.shutdown)
        await asyncio.to_thread(app.state.checks.shutdown)
        await asyncio.to_thread(app.state.scrapes.shutdown)
        await asyncio.to_thread(drain)

    # FastAPI's own page loads its scripts from the internet, which a customer's network may not reach.
    app = FastAPIOffline(
        redoc_url=None,
        title="Account Risk Alerts",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        generate_unique_id_function=lambda route: route.name,  # an operation is called as its function is
        redirect_slashes=False,  # a path that is not ours is not found, as any other
        responses=responses("unauthorized", "invalid_request", "internal_error"),
    )
    app.state.settings = settings
    token = settings.api_token.get_secret_value() if settings.api_token else None
    app.include_router(index.router)
    app.include_router(runs.router)
    app.include_router(outcomes.router)
    app.include_router(routes.router)
    app.include_router(health.router)
    app.include_router(metrics.router)
    answer_with_problems(app)
    # The last one added is the outermost.
    app.add_middleware(LimitedBody)
    app.add_middleware(Guard, token=token)
    _complete_answers(app)
    _complete_openapi(app, needs_token=settings.api_token is not None)
    return app


def close_dead_runs(settings: Settings) -> None:
    """Close what a process that died left running; a ledger that can't be used is for `/health` to report."""
    try:
        ledger = open_ledger(settings.database_url)
        for run_id in ledger.close_dead_runs(is_dead, utc_now(), wait_for_heartbeats):
            logger.warning("Closed run %s: its process died before it was over", run_id)
    except LedgerError as error:
        logger.error("%s", error)  # noqa: TRY400  its text says it all


def _complete_answers(app: FastAPI) -> None:
    """Put the headers of every answer around all there is: middleware would be within the one to defects."""
    build = app.build_middleware_stack
    app.build_middleware_stack = lambda: CompletedAnswers(build())  # type: ignore[method-assign]


def _complete_openapi(app: FastAPI, *, needs_token: bool) -> None:
    """Give OpenAPI what FastAPI does not know: our problems in place of its own, examples, who may call."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        schema = generate()
        schemas = schema["components"]["schemas"]
        schemas["Problem"] = Problem.model_json_schema()
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        add_examples(schema)
        if needs_token:
            schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            schema["security"] = [{"token": []}]
            for path in OPEN_PATHS:
                schema["paths"][path]["get"]["security"] = []
        return schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
