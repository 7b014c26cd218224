"""`make serve` reports a problem in one line, and leaves no server behind.

A sleeping program stands for both servers; `tests/deployment/test_served_and_deployed.py` has the real ones.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.calling import ROOT, run_python
from tests.machine import needs_proc
from tests.service import closed_port
from tests.waiting import HANG_SECONDS, until


def serve(**ports: int) -> list[str]:
    """Return the arguments of the command: free ports, except for those given as `prefect` or `api`."""
    given = {"prefect": closed_port(), "api": closed_port()} | ports
    return ["-m", "cli", "serve", *(f"--{name}-port={port}" for name, port in given.items())]


@pytest.mark.parametrize("server", ["prefect", "api"])
def test_taken_port_is_one_clear_line(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_python(*serve(**{server: port}))
    assert (ended.returncode, ended.stdout) == (1, "")
    line = f"Error: port {port} cannot be used: Address already in use; set API_PORT or PREFECT_PORT\n"
    assert ended.stderr == line


SLEEPING = """
import sys, time
def run(*_, **__):
    print("serving", flush=True)
    time.sleep(300)
if __name__ == "__main__":
    time.sleep(300)
"""


@contextmanager
def serving(folder: Path, *before: str) -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """Yield the command once it serves, and the process ID of its Prefect server."""
    (folder / "uvicorn.py").write_text(SLEEPING, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [*before, sys.executable, *serve()]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as running:
        while "serving" not in running.stdout.readline():
            assert running.poll() is None
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text(encoding="ascii")
        [prefect] = map(int, children.split())
        try:
            yield running, prefect
        finally:
            running.kill()
            with suppress(ProcessLookupError):
                os.kill(prefect, signal.SIGKILL)


def state_of(pid: int) -> str:
    """Return the state of a process: `R` runs, `S` sleeps, `T` is stopped."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]


def has(pid: int, masks: str, number: signal.Signals) -> bool:
    """Return whether a signal is in one of these masks of a process."""
    found = re.findall(rf"^(?:{masks}):\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in found)


@needs_proc
def test_second_stop_kills_a_prefect_server_that_does_not_end(tmp_path: Path) -> None:
    with serving(tmp_path) as (running, prefect):
        # Ctrl-C reaches only the command, which stops the API before Prefect.
        assert os.getsid(prefect) == prefect
        os.kill(prefect, signal.SIGSTOP)
        until(lambda: state_of(prefect) == "T")
        running.terminate()
        # Prefect has got the signal, and the command sleeps until Prefect ends.
        until(lambda: has(prefect, "SigPnd|ShdPnd", signal.SIGTERM) and state_of(running.pid) == "S")
        running.terminate()
        assert running.wait(HANG_SECONDS) == 0
        assert not Path(f"/proc/{prefect}").exists()


@needs_proc
def test_closed_terminal_ends_both_servers(tmp_path: Path) -> None:
    with serving(tmp_path) as (running, prefect):
        running.send_signal(signal.SIGHUP)
        assert running.wait(HANG_SECONDS) == 0
        assert not Path(f"/proc/{prefect}").exists()


@needs_proc
def test_prefect_server_imports_nothing_from_the_current_folder(tmp_path: Path) -> None:
    with serving(tmp_path) as (_, prefect):
        # It is empty until the process has loaded its program.
        assert b"\0-P\0" in until(Path(f"/proc/{prefect}/cmdline").read_bytes)


@needs_proc
def test_nohup_outlives_the_terminal(tmp_path: Path) -> None:
    with serving(tmp_path, "nohup") as (running, _):
        assert has(running.pid, "SigIgn", signal.SIGHUP)


def test_bad_setting_ends_both_servers() -> None:
    # Uvicorn would start workers again for as long as they end.
    ended = run_python(*serve(), SLACK_MAX_ATTEMPTS="canary", WEB_CONCURRENCY="2")
    assert ended.returncode == 2
    # Prefect, which is stopped while it starts, may print errors of its own.
    [line] = re.findall("^error: .*", ended.stderr, re.MULTILINE)
    assert line.startswith("error: settings_invalid: SLACK_MAX_ATTEMPTS: ")
    assert f"{ROOT}/api/" not in ended.stderr, "there is no traceback of the API"


def test_bad_setting_ends_the_command_of_the_image() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [command] = re.findall("^CMD (.*)$", dockerfile, re.MULTILINE)
    arguments = ["-m", *json.loads(command), "--port", "0"]
    assert run_python(*arguments, SLACK_MAX_ATTEMPTS="canary", WEB_CONCURRENCY="2").returncode == 2
