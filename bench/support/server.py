"""Serve an application with uvicorn, in a process of its own on a free port."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.demo import environment_without_settings

HOST = "127.0.0.1"


@contextmanager
def served(log: Path, *app: str, **environment: str) -> Iterator[tuple[str, int]]:
    """Serve; yield the address and the process ID once the server is up."""
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
    with log.open("wb") as opened:
        process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *app, "--host", HOST, "--port", str(port)],
            env=environment_without_settings() | environment,
            stdout=opened,
            stderr=opened,
        )
    try:
        while not _listens(port):
            if process.poll() is not None:
                raise SystemExit(log.read_text(encoding="utf-8"))
            time.sleep(0.1)
        yield f"http://{HOST}:{port}", process.pid
    finally:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port)).close()
    except ConnectionRefusedError:
        return False
    return True
