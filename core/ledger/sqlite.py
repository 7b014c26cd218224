"""SQLite as the ledger's database: durable commits, one writer at a time, and a warning about lost files."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

BUSY_TIMEOUT_SECONDS = 30.0
"""How long a transaction waits for another one's write lock."""

_ENGINE_FILES = ("/.dockerenv", "/run/.containerenv")
_ENGINE_VARIABLES = ("KUBERNETES_SERVICE_HOST", "ECS_CONTAINER_METADATA_URI_V4", "CLOUD_RUN_JOB", "K_SERVICE")
"""The files and variables that container engines set in a container."""


def file_of(url: URL) -> Path | None:
    """Return the file of a SQLite database, else None."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def is_missing(file: Path) -> bool:
    """Return whether the file is missing; raise an `OSError` that `Path.exists` hides since Python 3.14."""
    try:
        file.stat()
    except FileNotFoundError:
        return True
    return False


def sqlite_engine(url: URL) -> Engine:
    """Return an engine; a transaction with the option `immediate` holds the one write lock from its start."""
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        # A claim must survive a power cut, or the alert is sent twice; a build's default may be weaker.
        connection.execute("PRAGMA synchronous=FULL")
        # On macOS, a plain fsync leaves the data in the cache of the disk; elsewhere, this changes nothing.
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads and then writes can get SQLITE_BUSY without any wait; one that takes the
        # write lock at its start waits for the lock.
        immediate = connection.get_execution_options().get("immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


@retry(
    retry=retry_if_exception(lambda error: getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")),
    stop=stop_after_delay(BUSY_TIMEOUT_SECONDS),
    wait=wait_fixed(0.01),
    reraise=True,
)
def switch_to_wal(engine: Engine) -> None:
    """Switch to write-ahead logging, so that readers never wait for the writer.

    The statement ignores the busy timeout while another process opens the same new ledger, so it is repeated.
    """
    with closing(engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA journal_mode=WAL")


def container_warning(database_url: str) -> str | None:
    """Return a warning when the ledger is a file on the disk of this container, and is lost with it."""
    file = file_of(make_url(database_url))
    in_container = any(map(os.path.exists, _ENGINE_FILES)) or any(map(os.getenv, _ENGINE_VARIABLES))
    # Not `Path.is_mount`, which raises an error for a folder that cannot be read.
    if not (file and in_container) or any(map(os.path.ismount, file.resolve().parents[:-1])):
        return None
    return (
        f"The ledger {file} is on this container's own disk and will be lost with it;"
        " then alerts are sent again. Mount a volume there, or set DATABASE_URL to a PostgreSQL database"
    )
