"""The ledger's database: opened with its tables, with read and write transactions."""

import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory

from sqlalchemy import Connection, Engine, insert, inspect, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from core.domain import LedgerError
from core.ledger.postgresql import is_cut, postgresql_engine
from core.ledger.schema import METADATA, SCHEMA_VERSION, TOUCH, VERSION
from core.ledger.sqlite import BUSY_TIMEOUT_SECONDS, file_of, is_missing, sqlite_engine, switch_to_wal
from core.runtime import redact, shown_database

logger = logging.getLogger(__name__)

RESTART_SECONDS = 20.0
"""The longest that a run waits for a server that restarts, in each write `through_a_restart`."""

_LEFT_OUT = re.compile(
    r', port \d+|(?<=\buser|\brole) "[^"]*"|\[Errno -?\d+\] | Is the server running [^?]*\?'
)
"""Parts of libpq's messages to leave out: advice, and port and user, which may hold a password."""


class LedgerCut(LedgerError):
    """The ledger's server ended a connection or accepts none, for example during a restart.

    The transaction may be committed: the answer to a commit may be lost.
    """


class Database:
    """An engine whose database has the ledger's tables, with read and write transactions."""

    def __init__(self, url: str | URL) -> None:
        """Connect, and create the tables where there are none; raise `LedgerError`."""
        self.url = make_url(url)
        self._file = file_of(self.url)
        with translated_errors(self.url), ExitStack() as refused:
            self._engine = _engine(self.url)
            refused.callback(self._engine.dispose)
            self._writer = self._engine.execution_options(immediate=True)
            with self._engine.connect() as connection:
                current = _version(connection) == SCHEMA_VERSION
            if not current:
                # In one transaction, since two processes may start at once.
                with self._writer.begin() as connection:
                    is_new = _create_tables(connection)
                if is_new:
                    logger.info("New ledger %s: it has no alerts of earlier runs", shown_database(self.url))
            if self._file:
                # Only after the tables, so that the database of another program is not changed.
                switch_to_wal(self._engine)
            refused.pop_all()
        # Writers of one process wait here. SQLite would let each sleep and poll, and on PostgreSQL each would
        # hold a connection while it waits.
        self._turn = threading.Lock()
        self._identity = self._identify()
        self.close = self._engine.dispose

    def is_gone(self) -> bool:
        """Return whether the database's file was removed or replaced since it was opened."""
        return self._identify() != self._identity

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Read one consistent state of the database."""
        with translated_errors(self.url), Session(self._engine) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Yield a session with the only write lock; commit at the end, unless an error is raised."""
        if not self._turn.acquire(timeout=BUSY_TIMEOUT_SECONDS):
            raise LedgerError(
                f"The ledger {shown_database(self.url)} is locked by another transaction: try again later"
            )
        try:
            if self.is_gone():
                # A write through the old handle would go to a file that no other program can open.
                raise LedgerError(
                    f"The ledger's file {self._file} was removed or replaced: put it back, because with a new"
                    " ledger sent alerts are sent again"
                )
            with (
                translated_errors(self.url),
                Session(self._writer, expire_on_commit=False) as session,
                session.begin(),
            ):
                session.connection()  # takes the lock
                yield session
        finally:
            self._turn.release()

    def _identify(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat() if self._file else None
        except OSError:
            return None
        return status and (status.st_dev, status.st_ino)


def try_write(database_url: str) -> str:
    """Create or write the ledger and undo that; return what can be done, or raise `LedgerError`.

    The tables are created and written in one transaction that is rolled back. If the SQLite file does not
    exist, a temporary one is made instead, in the nearest existing folder above it.
    """
    url = make_url(database_url)
    file = file_of(url)
    with translated_errors(url):
        if file and is_missing(file):
            place = next(folder for folder in file.parents if folder.exists())
            with TemporaryDirectory(prefix=".risk-alerts-check-", dir=place) as folder:
                Database(url.set(database=f"{folder}/ledger.db")).close()
            return "can be created"
        engine = _engine(url)
        try:
            # Without a commit, the end of the connection rolls back.
            with engine.execution_options(immediate=True).connect() as connection:
                _create_tables(connection)
                connection.execute(TOUCH)
        finally:
            engine.dispose()
    return "can be written"


def _engine(url: URL) -> Engine:
    return sqlite_engine(url) if file_of(url) else postgresql_engine(url)


@contextmanager
def translated_errors(url: URL) -> Iterator[None]:
    """Raise a driver's error as a `LedgerError` that names the ledger and the cause."""
    try:
        yield
    except (DBAPIError, PoolTimeoutError, ImportError, sqlite3.Error, OSError) as error:
        # The text of an OSError also has its number and, in a check, the path of a temporary folder.
        text = getattr(error, "strerror", None) or str(getattr(error, "orig", None) or error)
        cause = " ".join(text.split())
        served = url.get_backend_name() == "postgresql"
        where = "DATABASE_URL, its disk and its permissions"
        if served:
            # libpq reads these variables for what the URL leaves out.
            names = sorted({name for name in os.environ if re.match("PG[A-Z]", name)} - {"PGDATA"})
            where = ", ".join(["DATABASE_URL", *names, "its server and the role's privileges"])
            cause = _LEFT_OUT.sub("", cause)
        message = redact(f"The ledger {shown_database(url)} cannot be used: {cause}. Check {where}")
        if served and isinstance(error, DBAPIError) and is_cut(error):
            raise LedgerCut(message) from error
        raise LedgerError(message) from error


through_a_restart = retry(
    retry=retry_if_exception_type(LedgerCut),
    stop=stop_after_delay(RESTART_SECONDS),
    wait=wait_fixed(0.2),
    reraise=True,
)
"""Repeats a write while the server restarts. The write must be safe to repeat after its own commit."""


def _create_tables(connection: Connection) -> bool:
    """Create the tables if there is no ledger, and return whether there was none.

    Raises `LedgerError` for a ledger of another version.
    """
    current = _version(connection)
    if current is None:
        # Raises an error if a table of another program has the name of one of these.
        METADATA.create_all(connection, checkfirst=False)
        connection.execute(insert(VERSION).values(version_num=SCHEMA_VERSION))
    elif current != SCHEMA_VERSION:
        raise LedgerError(
            f"The ledger {shown_database(connection.engine.url)} has schema {current}, which this version"
            " does not know: update the service; or move the ledger away if a development version made it"
            " (with a new ledger, sent alerts are sent again)"
        )
    return current is None


def _version(connection: Connection) -> str | None:
    """Return the schema's version, or None if there is no ledger."""
    if not inspect(connection).has_table(VERSION.name):
        return None
    found: str | None = connection.scalar(select(VERSION.c.version_num))
    return found
