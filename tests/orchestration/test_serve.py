"""`make serve` reports a problem in one line."""

import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_taken_port_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "cli", "serve", "--prefect-port", str(port)]
        served = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=30)
    assert served.returncode == 1
    assert served.stdout == ""
    assert served.stderr.startswith(f"Error: port {port} for Prefect cannot be used")
    assert len(served.stderr.splitlines()) == 1
