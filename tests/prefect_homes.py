"""Prefect servers for tests: one that all workers of a session share, and homes for further ones.

The migrations of a new home take about ten seconds of CPU, and the start of a server takes fifteen. The copy
of a migrated home takes none.
"""

import contextlib
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.chaos.processes import prefect_server
from tests.waiting import until

_MIGRATE = """
import asyncio
from prefect.server.database import provide_database_interface

async def migrate():
    database = provide_database_interface()
    await database.create_db()
    # Ends the write-ahead log, so that the database is one file.
    await (await database.engine()).dispose()

asyncio.run(migrate())
"""


def new_home(factory: pytest.TempPathFactory) -> Path:
    """Return a new `PREFECT_HOME` with a migrated database."""
    migrated = _migrated_home(session_folder(factory))
    return shutil.copytree(migrated, factory.mktemp("prefect-home"), dirs_exist_ok=True)


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all workers of the session share."""
    folder = factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@contextmanager
def locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _migrated_home(session: Path) -> Path:
    """Return the home to copy; the first worker makes it."""
    home = session / "prefect-home-migrated"
    with locked(session / "prefect-home.lock"):
        if not home.exists():
            making = Path(tempfile.mkdtemp(dir=session, prefix="prefect-home-making-"))
            subprocess.run(
                [sys.executable, "-c", _MIGRATE], env={**os.environ, "PREFECT_HOME": str(making)}, check=True
            )
            making.rename(home)
    return home


@contextmanager
def shared_server(factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the API URL of the shared server; the first user starts it, the last one stops it."""
    session = session_folder(factory)
    running = session / "prefect-server.json"
    lock = session / "prefect-server.lock"
    with (session / "prefect-server.users").open("w") as users:
        with locked(lock):
            if not running.exists():
                home = new_home(factory)
                server = prefect_server(home, home / "server.log")
                server.ensure_up()
                running.write_text(json.dumps([server.pid, f"{server.url}/api"]))
            pid, url = json.loads(running.read_text())
            # The lock is released when the process ends, however it ends.
            fcntl.flock(users, fcntl.LOCK_SH)
        try:
            yield url
        finally:
            with locked(lock), contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                running.unlink()
                os.kill(pid, signal.SIGTERM)


def answered(send: Callable[[], httpx.Response]) -> httpx.Response:
    """Send a request to the shared server again while it answers 503, because other tests keep it busy."""

    def answer() -> httpx.Response | None:
        response = send()
        return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

    return until(answer)
