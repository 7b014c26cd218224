"""Homes for Prefect servers, made from one that is migrated once for all workers of a test session.

Prefect's migrations cost a new home about ten seconds of a processor; a copy of their result costs nothing.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

NewHome = Callable[[], Path]

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
