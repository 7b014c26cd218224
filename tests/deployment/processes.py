"""Programs that run beside a test, with their child processes."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.cli.calling import ROOT


@contextmanager
def process(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the context ends; then kill what is left of its group, such as a worker's runs."""
    with log.open("wb") as file:
        running = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=file, stderr=file, start_new_session=True
        )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@contextmanager
def uvicorn(
    folder: Path, *options: str, **settings: str
) -> Iterator[tuple["subprocess.Popen[str]", str, list[str]]]:
    """Yield uvicorn once it serves, its address, and its log until then."""
    with subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "api.app:app", "--port", "0", *options],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": f"sqlite:///{folder}/ledger.db", "LOG_FORMAT": "json", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            lines = [""]
            while not (found := re.search(r"http://127\.0\.0\.1:\d+", lines[-1])):
                lines.append(process.stderr.readline())
                assert lines[-1], lines
            yield process, found.group(), lines[1:]
        finally:
            process.kill()
