"""`make serve` reports a problem in one line, and leaves no server behind.

A sleeping program stands for both servers; `tests/deployment/test_served_and_deployed.py` has the real ones.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.calling import ROOT, started
from tests.service import closed_port
from tests.waiting import until


def serve(**ports: int) -> list[str]:
    """Return the arguments of the command: free ports, except for those given as `prefect` or `api`."""
    given = {"prefect": closed_port(), "api": closed_port()} | ports
    return ["-m", "cli", "serve", *(f"--{name}-port={port}" for name, port in given.items())]


@pytest.mark.parametrize("server", ["prefect", "api"])
def test_taken_port_is_one_clear_line(server: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = started(*serve(**{server: port}))
    assert (ended.returncode, ended.stdout) == (1, "")
    line = f"Error: port {port} cannot be used: Address already in use; set API_PORT or PREFECT_PORT\n"
    assert ended.stderr == line


@contextmanager
def serving(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """Yield the command once both servers have started, and their process ids: Prefect's, then the API's."""
    (folder / "uvicorn.py").write_text("import time; time.sleep(300)", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    pipe = subprocess.PIPE
    command = [sys.executable, *serve()]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True) as running:
        assert running.stdout is not None
        while "stops both" not in running.stdout.readline():
            assert running.poll() is None
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text(encoding="ascii")
        servers = [int(child) for child in children.split()]
        # Ctrl-C reaches only the command, which stops the API before Prefect.
        assert [os.getsid(server) for server in servers] == servers
        yield running, servers
    assert not any(Path(f"/proc/{server}").exists() for server in servers)


def test_second_stop_kills_a_server_that_does_not_end(tmp_path: Path) -> None:
    with serving(tmp_path) as (running, (_, api)):
        os.kill(api, signal.SIGSTOP)
        until(lambda: ") T " in Path(f"/proc/{api}/stat").read_text(encoding="ascii"))
        running.terminate()
        time.sleep(1)
        assert Path(f"/proc/{api}").exists()
        running.terminate()
        running.communicate(timeout=30)
        assert running.returncode == 0


@pytest.mark.parametrize(("place", "name"), [(0, "Prefect"), (-1, "the API")])
def test_end_of_one_server_ends_the_other(place: int, name: str, tmp_path: Path) -> None:
    with serving(tmp_path) as (running, servers):
        os.kill(servers[place], signal.SIGKILL)
        _, errors = running.communicate(timeout=50)
    assert running.returncode == 1
    assert errors.splitlines()[-1] == f"Error: {name} has ended by itself (exit code -9)"
