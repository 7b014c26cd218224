"""A program with small flows of its own, run by the tests as a process; prints one JSON object a line."""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from flows.orchestrator import (
    Orchestrator,
    PrefectFailed,
    note_flow_began,
    run_is_over,
    show_logs_in_ui,
)  # before Prefect: it sets its manners

from prefect import flow, task  # isort: skip
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId
from prefect.runtime import flow_run
from prefect.settings import temporary_settings

from core.errors import SourceNotFound
from core.redaction import protect

log = logging.getLogger("tasks.probe")


def say(**values: Any) -> None:
    print(json.dumps(values), flush=True)  # noqa: T201


@task
def number(value: int) -> int:
    log.info("number %s, password %s", value, "hunter2secret")
    return value


@flow(name="probe")
async def probe_flow(value: int) -> list[str]:
    show_logs_in_ui()
    return [str(number(value)), str(flow_run.id)]


@flow(name="probe-raises")
async def raising_flow(error: str) -> None:
    raise {"domain": SourceNotFound("nothing there"), "bug": KeyError("a bug")}[error]


@flow(name="probe-signals")
async def signalling_flow(pid: int, signum: int, back_after: float) -> str:
    """Do something to the Prefect server in the middle, and go on working."""
    note_flow_began()
    show_logs_in_ui()
    number(1)
    os.kill(pid, signum)
    if back_after:
        threading.Timer(back_after, os.kill, (pid, signal.SIGCONT)).start()
    number(2)
    say(effect="done", at=time.monotonic())
    run_is_over("run-1")
    return "ok"


def one_run(orchestrator: Orchestrator) -> None:
    result = orchestrator.run(lambda: probe_flow(7))
    say(result=result[0], server=_server_pid(orchestrator))


def scenario(orchestrator: Orchestrator) -> None:
    """Everything that one server can show in turn."""
    show_logs_in_ui()
    protect(["hunter2secret"])
    orchestrator.run(lambda: probe_flow(0))
    first = _log_furniture()
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(lambda n: orchestrator.run(lambda: probe_flow(n)), range(6)))
    say(step="six", values=[value for value, _ in results], ids=len({run for _, run in results}))
    show_logs_in_ui()
    say(step="filters", **{"after one run": first, "after eight": _log_furniture()})
    for kind in ("domain", "bug"):
        try:
            orchestrator.run(lambda kind=kind: raising_flow(kind))
        except Exception as error:  # noqa: BLE001
            say(step=kind, type=type(error).__name__)
    say(step="logs", texts=_logs_of(orchestrator, results[3][1]))
    for step, signum, back_after in (("short", signal.SIGSTOP, 4.0), ("dead", signal.SIGKILL, 0.0)):
        began = time.monotonic()
        pid = _server_pid(orchestrator)
        try:
            result = orchestrator.run(lambda p=pid, s=signum, b=back_after: signalling_flow(p, int(s), b))
        except PrefectFailed as error:
            result = type(error).__name__
        say(step=step, result=result, seconds=time.monotonic() - began)
    say(step="again", result=orchestrator.run(lambda: probe_flow(8))[0])
    began = time.monotonic()
    orchestrator.close()
    say(step="closed", seconds=time.monotonic() - began)


def _log_furniture() -> list[int]:
    """Count the handlers, and their filters, through which the log of a run goes."""
    names = ("tasks", "flows", "prefect.flow_runs", "prefect.task_runs")
    handlers = [handler for name in names for handler in logging.getLogger(name).handlers]
    return [len(handlers), sum(len(handler.filters) for handler in handlers)]


def _server_pid(orchestrator: Orchestrator) -> int:
    server = orchestrator._server
    return server._process.pid if server else 0


def _logs_of(orchestrator: Orchestrator, run: str) -> list[str]:
    wanted = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run]))
    with temporary_settings({"api.url": orchestrator.start()}), get_client(sync_client=True) as client:
        for _ in range(50):
            texts = [entry.message for entry in client.read_logs(wanted)]
            if any("number" in text for text in texts):
                return texts
            time.sleep(0.2)
    return []


if __name__ == "__main__":
    # As the command line does; nothing of Prefect's may come this way.
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    logging.getLogger().addHandler(terminal)
    with contextlib.closing(Orchestrator()) as shared:
        {"one_run": one_run, "scenario": scenario}[sys.argv[1]](shared)
