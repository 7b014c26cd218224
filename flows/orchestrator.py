"""Runs the flow in this process against Prefect, in bounded time whatever Prefect does.

The API is the one that `PREFECT_API_URL` names, asked first whether it is there, or Prefect's own server
started for this process. The ledger, never Prefect, says what became of a run; so an error of Prefect's comes
out as `PrefectFailed`, which means: look into the ledger.

The flow has a thread of its own. Whoever waits for it does so for a bounded time at its two ends: until
Prefect has begun it, and from when the ledger has closed the run until Prefect has taken report and state. In
between, the work takes the time that it needs. Cancelled, Prefect would try its API as long again, so a flow
that is given up is left behind: its own retries end it, or the end of the process does.
"""

import asyncio
import contextlib
import logging
import queue
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import ContextVar, copy_context
from traceback import walk_tb
from typing import Any, Generic, TypeVar

import httpx
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events.clients import PrefectEventsClient
from prefect.events.worker import EventsWorker
from prefect.exceptions import Abort, Pause, PrefectException, PrefectHTTPStatusError
from prefect.logging.handlers import APILogHandler
from prefect.settings import get_current_settings, temporary_settings

from core.errors import OrchestratorUnreachable, RiskAlertsError
from core.redaction import RedactingFilter, redact
from core.runtime import one_line
from core.urls import host_of
from flows.local_server import LocalServer, LocalServerFailed

T = TypeVar("T")

PROBE_SECONDS = 8
"""The longest that a Prefect API may take to say that it is there."""

BEGIN_SECONDS = 60
"""The longest that Prefect may take to begin a flow, all tries included; then it is refused to, and nothing
was begun."""

PATIENCE_SECONDS = 15
"""The longest that the answer of a run that is over waits for Prefect to take its report and its end."""

DRAIN_SECONDS = 5
"""The longest that the end of the process waits for Prefect to take the last events and logs."""

_BOUNDS = {
    # Prefect waits 2, 4, 8 … s between tries of one request, and the end of a run makes several requests.
    "client.max_retries": 3,
    "client.retry_jitter_factor": 0.1,
    "api.request_timeout": 10.0,
}
"""What one request may cost when Prefect stops answering; the operator's settings win."""

_BUSY = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE)
"""What Prefect's API answers while it is overloaded, as its server on SQLite is by a burst of runs."""

_FORWARDED = ("core", "flows", "tasks")

log = logging.getLogger(__name__)


class PrefectFailed(Exception):
    """Prefect, not the run, failed: the ledger says whether the run began and how it ended.

    The cause is Prefect's own error.
    """


class _Busy(Exception):
    """Prefect was too busy to begin a flow, and there is time to ask it again."""


class Orchestrator:
    """A Prefect API for this process, and the runs of flows against it; shared by all threads.

    One a process, closed at its end: `with contextlib.closing(Orchestrator()) as orchestrator: …`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._server: LocalServer | None = None
        _hush_prefect()

    def start(self) -> str:
        """Answer with the URL of a Prefect API that is there, or raise `OrchestratorUnreachable`.

        Starts the local server if one is needed and none is running: the first time that takes seconds.
        """
        if url := get_current_settings().api.url:
            probe(url)
            return url
        with self._lock:
            if self._server and not self._server.running:
                log.warning("Prefect's local server has died; starting another")
                self._server.stop()
                self._server = None
            if not self._server:
                try:
                    self._server = LocalServer.start()
                except (LocalServerFailed, OSError) as error:
                    raise OrchestratorUnreachable(
                        f"Prefect's local server can't be started: {redact(str(error))}"
                    ) from error
            return self._server.url

    def start_in_background(self) -> None:
        """Begin to start, for a first run that need not wait; that run tells what went wrong."""
        threading.Thread(target=self._start_quietly, name="prefect-start", daemon=True).start()

    def _start_quietly(self) -> None:
        with contextlib.suppress(OrchestratorUnreachable):
            self.start()

    def run(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the flow that `call` calls, in this thread, and answer with what it returns.

        Raises what the flow raises; `OrchestratorUnreachable` when no API is there or begins the flow, and so
        nothing was begun; and `PrefectFailed` when Prefect failed later.
        """
        url = self.start()
        # By default the events of one dead API are tried eleven times each, and follow no change of address.
        EventsWorker.set_client_override(PrefectEventsClient, api_url=url, reconnection_attempts=1)
        begin_by = time.monotonic() + BEGIN_SECONDS
        fault = f"no answer in {BEGIN_SECONDS:g} s"
        with temporary_settings(updates={"api.url": url}, set_defaults=_BOUNDS):
            while True:
                try:
                    return _FlowThread(call, begin_by, fault).result()
                except _Busy as busy:
                    # Not at once: Prefect's client has waited between its own tries.
                    fault = str(busy)

    def close(self) -> None:
        """Hand Prefect the last events and logs, for a bounded time, and stop the local server."""
        _drain()
        with self._lock:
            if self._server:
                self._server.stop()
                self._server = None


class _FlowThread(Generic[T]):
    """One flow in a thread of its own, and what the thread that waits for it must know."""

    def __init__(self, call: Callable[[], Coroutine[Any, Any, T]], begin_by: float, not_begun: str) -> None:
        """Call the flow, which is to begin by that time of the monotonic clock, or else is not begun, why."""
        self._changed = threading.Condition()
        self._begin_by = begin_by
        self._not_begun = not_begun
        # Where Prefect is at work, until when; None while the run is.
        self._deadline: float | None = begin_by
        self._begun = self._ended = self._given_up = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._run_id = ""
        self._error_of_run: BaseException | None = None
        self._missed: list[str] = []
        token = _current.set(self)
        context = copy_context()
        _current.reset(token)
        # A daemon, as one that was given up must not hold up the end of the process.
        threading.Thread(target=context.run, args=(self._work, call), name="flow", daemon=True).start()

    def _work(self, call: Callable[[], Coroutine[Any, Any, T]]) -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = asyncio.run(_as_coroutine(call))
        except BaseException as error:  # noqa: BLE001  # raised again where it is waited for
            failure = error
        with self._changed:
            self._result, self._error, self._ended = result, failure, True
            self._changed.notify_all()

    # Told by the flow

    def begin(self) -> None:
        """Note that Prefect has begun the flow, or begun it again; raises when nobody waits any more."""
        with self._changed:
            if self._given_up:
                raise OrchestratorUnreachable("Prefect began this run when it had been given up")
            self._begun, self._deadline = True, None
            self._changed.notify_all()

    def close(self, run_id: str, error: BaseException | None) -> None:
        """Note that the ledger has closed the run, and what ended it."""
        with self._changed:
            self._run_id, self._error_of_run = run_id, error
            self._deadline = time.monotonic() + PATIENCE_SECONDS
            self._changed.notify_all()

    def miss(self, what: str) -> None:
        """Note what Prefect did not take."""
        with self._changed:
            self._missed.append(what)

    # Asked by whoever waits

    def result(self) -> T:
        """Wait for the flow, not much longer than for the run, and give or raise what it ended with."""
        self._wait()
        error = self._error
        if self._ended and error is None:
            self._tell()
            return self._result  # type: ignore[return-value]  # ended without an error: it is the flow's
        if isinstance(error, BaseException) and not _is_prefects(error):
            self._tell()
            raise error
        if not self._begun:
            fault = _text_of(error) if error else self._not_begun
            if _is_busy(error) and time.monotonic() < self._begin_by:
                raise _Busy(fault)
            raise OrchestratorUnreachable(f"Prefect did not begin the run, and nothing was sent: {fault}")
        fault = _text_of(error) if error else f"no answer in {PATIENCE_SECONDS:g} s"
        self.miss("the end")
        self._tell(fault)
        if isinstance(self._error_of_run, RiskAlertsError):
            # Also of a run that the ledger could not close, as when both are on one full disk.
            raise self._error_of_run from error
        raise PrefectFailed(fault) from error

    def _wait(self) -> None:
        with self._changed:
            while not self._ended:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    self._given_up = True
                    return
                self._changed.wait(left)

    def _tell(self, fault: str = "") -> None:
        if self._missed:
            what = " and ".join(self._missed) + (f" of run {self._run_id}" if self._run_id else "")
            log.warning("Prefect missed %s, which the ledger has%s", what, f" ({fault})" if fault else "")


_current: ContextVar[_FlowThread[Any] | None] = ContextVar("flow_thread", default=None)


def run_is_over(run_id: str) -> None:
    """Say that the ledger has closed the run of this flow: from here on its answer waits for Prefect alone.

    Called where the error that ended the run, if any, is being handled.
    """
    if flow := _current.get():
        flow.close(run_id, sys.exception())


def prefect_missed(what: str, run_id: str, error: Exception) -> None:
    """Say that Prefect did not take something of a run; told in one line with what else it missed."""
    if flow := _current.get():
        flow.miss(what)
    else:
        log.warning("Prefect missed %s of run %s: %s", what, run_id, _text_of(error))


async def _as_coroutine(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return await call()


def _text_of(error: BaseException) -> str:
    """Describe an error of Prefect's in one line; some of them have several, others no text at all."""
    text = one_line(redact(str(error))).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_prefects(error: BaseException) -> bool:
    """Whether it came from Prefect or from its way to the API, rather than from a stage of the run."""
    if isinstance(error, PrefectException | Abort | Pause | httpx.HTTPError):
        return True
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    # Prefect's `RuntimeError: Failed to reach API` has no type of its own.
    return bool(frames) and str(frames[-1].f_globals.get("__name__")).startswith("prefect.")


def _is_busy(error: BaseException | None) -> bool:
    # Prefect's `RuntimeError: Failed to reach API` has the answer as its cause.
    answer = error if isinstance(error, PrefectHTTPStatusError) else error and error.__cause__
    return isinstance(answer, PrefectHTTPStatusError) and answer.response.status_code in _BUSY


def probe(url: str, seconds: float = PROBE_SECONDS) -> None:
    """Raise `OrchestratorUnreachable` unless a Prefect API answers at `url` within the time."""
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def ask() -> None:
        answers.put(_ask_health(url, seconds))

    # A thread that is left behind is the one bound that also holds for name resolution and trickled answers.
    threading.Thread(target=ask, name="prefect-probe", daemon=True).start()
    try:
        fault = answers.get(timeout=seconds)
    except queue.Empty:
        fault = f"no answer in {seconds:g} s"
    if fault:
        raise OrchestratorUnreachable(
            f"No Prefect API answers at PREFECT_API_URL (host {host_of(url)}): {redact(fault)}"
        )


def _ask_health(url: str, seconds: float) -> str:
    """Answer with what is wrong with the API at `url`, or with nothing."""
    settings = get_current_settings().api
    auth: tuple[str, str] | None = None
    headers = {}
    if settings.auth_string:
        user, _, password = settings.auth_string.get_secret_value().partition(":")
        auth = user, password
    elif settings.key:
        headers["Authorization"] = f"Bearer {settings.key.get_secret_value()}"
    try:
        verify: ssl.SSLContext | bool = not settings.tls_insecure_skip_verify
        if verify and settings.ssl_cert_file:
            verify = ssl.create_default_context(cafile=settings.ssl_cert_file)
        with httpx.Client(auth=auth, headers=headers, verify=verify, timeout=seconds) as client:
            answer = client.get(f"{url.rstrip('/')}/health")
            healthy = answer.status_code == httpx.codes.OK and answer.json() is True
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, TypeError) as error:
        return str(error) or type(error).__name__
    return "" if healthy else f"not what Prefect answers (HTTP {answer.status_code})"


def _drain() -> None:
    """Have Prefect's background workers send what they hold, and give up on what takes too long.

    Left alone, they try each event again and again while the interpreter waits for them to end: a minute for
    an API that has died.
    """
    # All of Prefect's queues share one registry; reaching into it is the only way to set them a limit.
    workers = list(EventsWorker._instances.values())  # type: ignore[misc]  # noqa: SLF001
    tasks = [(worker._loop, worker._task) for worker in workers]  # noqa: SLF001
    EventsWorker.drain_all(timeout=DRAIN_SECONDS)
    for loop, task in tasks:
        if loop and task:
            loop.call_soon_threadsafe(task.cancel)


def _hush_prefect() -> None:
    """Keep Prefect's log off our handlers and our terminal; its UI gets it all the same."""
    prefects = logging.getLogger("prefect")
    prefects.propagate = False
    # Without any handler Python would print warnings by itself.
    prefects.addHandler(logging.NullHandler())
    for name in ("EventsWorker", "APILogWorker"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # What its log worker can't send, Prefect writes straight to stderr, unless logging itself is told not to
    # (as Python advises for production).
    logging.raiseExceptions = False


class _OfAFlowRun(logging.Filter):
    """Lets through what was logged within a flow run; the API wants no other records."""

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002 - the run is in the context
        return bool(FlowRunContext.get() or TaskRunContext.get())


def note_flow_began() -> None:
    """Tell whoever waits for it that the flow has begun; raises `OrchestratorUnreachable` in one given up."""
    if flow := _current.get():
        flow.begin()


def show_logs_in_ui() -> None:
    """Show what our loggers say during a flow run in the Prefect UI, with secrets masked; repeatable."""
    silent = [
        logger
        for logger in map(logging.getLogger, _FORWARDED)
        if not any(isinstance(known, APILogHandler) for known in logger.handlers)
    ]
    if silent:
        handler = APILogHandler(level=logging.INFO)
        handler.addFilter(_OfAFlowRun())
        handler.addFilter(RedactingFilter())
        for logger in silent:
            logger.addHandler(handler)
            if logger.level == logging.NOTSET:
                logger.setLevel(logging.INFO)
    # The text of an exception passes through Prefect's own loggers, whose handlers a new set-up replaces.
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        for known in logging.getLogger(name).handlers:
            if not any(isinstance(mask, RedactingFilter) for mask in known.filters):
                known.addFilter(RedactingFilter())
