"""SQLite as the ledger's database: durable commits, one writer at a time, and a warning about lost files."""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from core.domain import LedgerError

BUSY_TIMEOUT_SECONDS = 30.0
"""How long a transaction waits for another one's write lock."""

_FORGOTTEN = frozenset({"overlay", "aufs", "fuse-overlayfs", "tmpfs", "ramfs"})
"""File systems that end with their container."""


def sqlite_engine(url: URL) -> Engine:
    """Return an engine; a transaction with the option `immediate` holds the one write lock from its start."""
    if not url.database or url.database == ":memory:":
        raise LedgerError("DATABASE_URL names no file: a ledger in memory forgets what was sent")
    if url.database.startswith("file:"):
        raise LedgerError("DATABASE_URL must name the SQLite file by its path, not by a file: URI")
    Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}, pool_size=10, max_overflow=40)

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        # By default the driver opens a transaction only before a write.
        connection.isolation_level = None
        # A claim must survive a power cut, or the alert is sent twice; a build's default may be weaker.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads and then writes can get SQLITE_BUSY without any wait; one that takes the
        # write lock at its start waits for the lock.
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


@retry(
    # The low byte is the primary result code.
    retry=retry_if_exception(
        lambda error: getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    ),
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


def in_container(environment: Mapping[str, str], root: Path = Path("/")) -> bool:
    """Return whether this process runs in a container, by the files and variables of container engines."""
    marks = (root / ".dockerenv", root / "run/.containerenv")
    serverless = {"KUBERNETES_SERVICE_HOST", "ECS_CONTAINER_METADATA_URI_V4", "CLOUD_RUN_JOB", "K_SERVICE"}
    return any(mark.exists() for mark in marks) or not serverless.isdisjoint(environment)


def is_forgotten(path: Path, mountinfo: str) -> bool:
    """Return whether a container loses the files at a path, by the text of its /proc/self/mountinfo."""
    found = ("/", "")
    for line in mountinfo.splitlines():
        mount, _, device = line.partition(" - ")
        point = mount.split()[4].replace("\\040", " ")
        # A later mount on the same place hides the earlier one.
        if path.is_relative_to(point) and len(point) >= len(found[0]):
            found = (point, device.split()[0])
    return found[0] == "/" or found[1] in _FORGOTTEN


def container_warning(database_url: str) -> str | None:
    """Return a warning when the ledger is a file that is lost with this container."""
    url = make_url(database_url)
    if url.get_backend_name() != "sqlite" or not url.database:
        return None
    try:
        mountinfo = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    if not in_container(os.environ) or not is_forgotten(Path(url.database).resolve(), mountinfo):
        return None
    return (
        f"The ledger {url.database} is on this container's own disk and will be lost with it;"
        " then alerts are sent again. Mount a volume there, or set DATABASE_URL to a PostgreSQL database"
    )
