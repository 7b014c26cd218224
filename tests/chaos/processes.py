"""The real processes: the batch job, the API and Prefect's server. Each can be broken at a planned time."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.chaos.plan import Clock, Fault, FaultKind
from tests.service import answers, closed_port
from tests.waiting import until

Read = Callable[[], float]

SERVER = ["--factory", "prefect.server.api.server:create_app"]
"""The application that uvicorn serves."""
LEAN = {
    # Only the services that record runs: no scheduler, no late runs, no UI.
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    # A run needs no block types, and registering them costs a new database three seconds.
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
"""The environment of a server that only records runs."""

END_SECONDS = 400
"""The longest time in which a process ends by itself."""
FROZEN_SECONDS = 4
"""Longer than `SLACK_TIMEOUT_SECONDS` of the runs."""


def is_due(fault: Fault, clocks: Mapping[Clock, Read], over: Callable[[], bool]) -> bool:
    """Wait for the time of the fault; return false when there is none, or `over` returned true first."""
    clock = clocks[fault.clock]
    while clock() < int(fault.amount):
        if over():
            return False
        time.sleep(0.002)
    # The fraction spreads the time between two messages.
    time.sleep(fault.amount % 1 * 0.1)
    return fault.kind is not FaultKind.NONE and not over()


class Process:
    """One of our programs as a process that can be started again."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self._command = [sys.executable, *arguments]
        self._environment = {**os.environ, **environment}
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process unless it runs."""
        if not self.running:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
                )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self) -> int:
        """Wait for the process to end by itself; return its exit code."""
        return self._process.wait(END_SECONDS)

    def terminate(self) -> None:
        """Send SIGTERM, and wait for the end."""
        if self._process is not None and self.running:
            self._process.terminate()
            self._process.wait(END_SECONDS)

    def kill(self) -> None:
        if self._process is not None and self.running:
            self._process.kill()
            self._process.wait()

    def apply_fault(self, fault: Fault, clocks: Mapping[Clock, Read], over: Callable[[], bool]) -> FaultKind:
        """Apply the planned fault, unless `over` returns true first; return the applied fault."""
        if not is_due(fault, clocks, over) or not self.running:
            return FaultKind.NONE
        if fault.kind is FaultKind.FREEZE:
            self._process.send_signal(signal.SIGSTOP)
            time.sleep(FROZEN_SECONDS)
            self._process.send_signal(signal.SIGCONT)
        elif fault.kind is FaultKind.STOP:
            self.terminate()
        else:
            self.kill()
        return fault.kind


class Server(Process):
    """A program that serves on a port, which stays the same when the program is started again."""

    def __init__(self, app: list[str], health: str, environment: Mapping[str, str], log: Path) -> None:
        port = closed_port()
        self.url = f"http://127.0.0.1:{port}"
        self._health = f"{self.url}{health}"
        arguments = ["-m", "uvicorn", "--log-level", "warning", *app, "--port", str(port)]
        super().__init__(arguments, environment, log)

    def ensure_up(self) -> None:
        """Start the program unless it runs, and wait until it answers."""
        self.start()
        until(lambda: answers(self._health) or not self.running, self._log.read_text)
        if not self.running:
            raise RuntimeError(f"{self._command} ended: {self._log.read_text()[-500:]}")


def prefect_server(home: Path, log: Path) -> Server:
    """Return a Prefect server that only records runs."""
    return Server(SERVER, "/api/health", {**LEAN, "PREFECT_HOME": str(home)}, log)


def api_server(environment: Mapping[str, str], log: Path) -> Server:
    return Server(["api.app:app"], "/health", environment, log)


def batch_job(source_uri: str, month: str, environment: Mapping[str, str], log: Path) -> Process:
    arguments = ["-m", "flows.monthly_risk_alerts", "--source-uri", source_uri, "--month", month, "--json"]
    return Process(arguments, environment, log)
