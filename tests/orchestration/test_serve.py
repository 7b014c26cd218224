"""`make serve` reports a problem in one line."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service import closed_port

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
