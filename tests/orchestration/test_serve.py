"""`make serve` reports a problem in one line, and leaves no server behind."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.service import closed_port
from tests.waiting import until

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("taken_by", ["--prefect-port", "--api-port"])
def test_taken_port_is_one_clear_line(taken_by: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ports = {"--prefect-port": closed_port(), "--api-port": closed_port(), taken_by: port}
        command = [
            sys.executable,
            "-m",
            "cli",
            "serve",
            *(str(word) for pair in ports.items() for word in pair),
        ]
        served = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert served.returncode == 1
    assert served.stdout == ""
    assert served.stderr.startswith(f"Error: port {port} cannot be used")
    assert served.stderr.endswith("; set API_PORT or PREFECT_PORT\n")
    assert len(served.stderr.splitlines()) == 1


def test_second_stop_kills_a_server_that_does_not_end() -> None:
    ports = ["--prefect-port", str(closed_port()), "--api-port", str(closed_port())]
    command = [sys.executable, "-m", "cli", "serve", *ports]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as serve:
        assert serve.stdout is not None
        while "stops both" not in serve.stdout.readline():
            assert serve.poll() is None
        servers = Path(f"/proc/{serve.pid}/task/{serve.pid}/children").read_text(encoding="ascii").split()
        api = int(servers[-1])
        os.kill(api, signal.SIGSTOP)
        until(lambda: ") T " in Path(f"/proc/{api}/stat").read_text(encoding="ascii"))
        serve.terminate()
        time.sleep(1)
        assert Path(f"/proc/{api}").exists()
        serve.terminate()
        assert serve.wait(30) == 0
        assert not any(Path(f"/proc/{server}").exists() for server in servers)


@pytest.mark.parametrize(("place", "name"), [(0, "Prefect"), (-1, "the API")])
def test_end_of_one_server_ends_the_other(place: int, name: str) -> None:
    ports = ["--prefect-port", str(closed_port()), "--api-port", str(closed_port())]
    command = [sys.executable, "-m", "cli", "serve", *ports]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True) as serve:
        assert serve.stdout is not None
        while "stops both" not in serve.stdout.readline():
            assert serve.poll() is None
        servers = Path(f"/proc/{serve.pid}/task/{serve.pid}/children").read_text(encoding="ascii").split()
        os.kill(int(servers[place]), signal.SIGKILL)
        _, errors = serve.communicate(timeout=50)
    assert serve.returncode == 1
    assert errors.splitlines()[-1] == f"Error: {name} has ended by itself (exit code -9)"
    assert not any(Path(f"/proc/{server}").exists() for server in servers)
