"""Processes forked from one that has already imported the product, so that a test costs only its own work.

Use them for every rule that is not about the start of a process.
"""

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
END_SECONDS = 300
"""The longest that a process may take to end."""
BATCH_JOB = "flows.monthly_risk_alerts"

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(
    ["cli.check", "cli.resolve", "cli.run", "tests.delivery.driver", "tests.support.driver"]
)


barrier = _context.Barrier
"""A barrier that forked processes share."""


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


class Forked:
    """A process that calls a function and exits with 0, or with what `sys.exit` is given."""

    def __init__(self, target: Callable[..., object], *args: Any) -> None:
        self._process = _context.Process(target=target, args=args)
        self._process.start()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal; the process may have ended."""
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def wait(self) -> int:
        """Wait for its end, and return its exit code; a negative one is the signal that killed it."""
        self._process.join(END_SECONDS)
        assert self._process.exitcode is not None, "the process hangs"
        return self._process.exitcode


class Program(Forked):
    """The batch job as `python -m` runs it, its streams in files of a folder."""

    def __init__(self, folder: Path, *arguments: str, environment: Mapping[str, str]) -> None:
        self._out, self._err = folder / f"{id(self)}.out", folder / f"{id(self)}.err"
        super().__init__(_run_batch_job, arguments, dict(environment), self._out, self._err)

    def end(self) -> Ended:
        """Wait for its end, and return what it printed."""
        code = self.wait()
        return Ended(code, self._out.read_text(encoding="utf-8"), self._err.read_text(encoding="utf-8"))


def _run_batch_job(arguments: tuple[str, ...], environment: dict[str, str], out: Path, err: Path) -> None:
    from prefect.context import refresh_global_settings_context  # noqa: PLC0415

    from flows.checked_prefect import DEFAULTS  # noqa: PLC0415  # the parent of the fork has imported it

    for number, file in ((1, out), (2, err)):
        with file.open("wb") as stream:
            os.dup2(stream.fileno(), number)
    os.chdir(ROOT)
    os.environ.clear()
    os.environ.update(DEFAULTS | environment)
    refresh_global_settings_context()
    # `runpy` imports from scratch what it runs.
    sys.modules.pop(BATCH_JOB, None)
    sys.argv = [BATCH_JOB, *arguments]
    runpy.run_module(BATCH_JOB, run_name="__main__", alter_sys=True)
