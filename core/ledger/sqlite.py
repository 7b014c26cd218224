"""What is SQLite's alone: durable, waiting for other processes, one writer at a time."""

import sqlite3
import time
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

from core.domain import LedgerError

BUSY_TIMEOUT_SECONDS = 30.0
"""How long a transaction waits for another one's write lock."""


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
        # The driver would open transactions by its own rules, and only before a write.
        connection.isolation_level = None
        # A claim must survive a power cut, or the alert goes out a second time; a build may have less.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that reads first and then writes gets SQLITE_BUSY at once, whatever the timeout;
        # one that takes the write lock at its start waits for it.
        immediate = connection.get_execution_options().get("immediate", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    return engine


def switch_to_wal(engine: Engine) -> None:
    """Let readers never wait for the writer; the database file keeps the mode, unless it is a copy.

    The one statement that ignores the busy timeout while another process opens the same new ledger.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    connection = engine.raw_connection()
    try:
        while True:
            try:
                connection.cursor().execute("PRAGMA journal_mode=WAL")
            except sqlite3.OperationalError as error:
                # The low byte is the error; the others tell its kinds apart.
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
            else:
                return
    finally:
        connection.close()
