"""Prefect servers, on homes made from one that is migrated once for all workers of a test session.

Prefect's migrations cost a new home about ten seconds of a processor; a copy of their result costs nothing.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.service import closed_port

NewHome = Callable[[], Path]

SERVER = ["--factory", "prefect.server.api.server:create_app"]
"""What uvicorn is to serve."""
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
START_SECONDS = 110

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


def new_homes(factory: pytest.TempPathFactory) -> NewHome:
    """Give a function that makes a home that no one else uses."""
    # Each worker has a folder of its own in the one of the session.
    session = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent

    def new_home() -> Path:
        return shutil.copytree(_migrated_home(session), factory.mktemp("prefect-home"), dirs_exist_ok=True)

    return new_home


def _migrated_home(session: Path) -> Path:
    """Give the home to copy; whoever comes first makes it, and no one sees it half made."""
    home = session / "prefect-home-migrated"
    with (session / "prefect-home.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not home.exists():
            making = Path(tempfile.mkdtemp(dir=session, prefix="prefect-home-making-"))
            subprocess.run(
                [sys.executable, "-c", _MIGRATE], env={**os.environ, "PREFECT_HOME": str(making)}, check=True
            )
            making.rename(home)
    return home


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """Run a Prefect server on a home; yield the URL of its API."""
    port = closed_port()
    log = (home / "server.log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "--log-level", "warning", *SERVER, "--port", str(port)],
        env={**os.environ, **LEAN, "PREFECT_HOME": str(home)},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
    )
    url = f"http://127.0.0.1:{port}/api"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            said = (home / "server.log").read_text(errors="replace")
            assert server.poll() is None, said
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        yield url
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).is_success
    except httpx.HTTPError:
        return False
