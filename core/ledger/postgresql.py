"""What is PostgreSQL's alone: one writer at a time as on SQLite, and an end to every wait.

A transaction that writes first takes an advisory lock of the database, which its end gives back, also when
its connection or its process dies. So there is one writer at a time, whatever host it runs on, and READ
COMMITTED is enough: each statement after the lock sees all that earlier writers committed, and no deadlock
or serialization failure can arise among writers. One that only reads has one snapshot (REPEATABLE READ).
"""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

WRITE_LOCK = 0x5249534B414C5254
"""The advisory lock of writers and migrations, for all of one database: "RISKALRT" in ASCII."""

LONGEST_KEY = 2_500
"""Bytes of a text that a row is found by: its index takes 2,704 of all that stand for a row."""

_TIMEOUTS: dict[str, Any] = {
    "connect_timeout": 10,
    # A host that vanished without a word: the kernel gives its connections up.
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_LOCAL = {
    "statement_timeout": "30s",
    "lock_timeout": "30s",
    # A writer that hangs must not keep the lock from the others forever.
    "idle_in_transaction_session_timeout": "60s",
    # A claim must survive a crash of the server, or the alert goes out a second time.
    "synchronous_commit": "on",
}
"""Settings of each transaction, not of the session: behind PgBouncer the next one is in another session."""

_SERVER_GOES = ("08", "57P")
"""How the codes begin of a connection that failed, and of a server that stops, crashed or starts."""


def is_cut(error: DBAPIError) -> bool:
    """Return whether the server ended the connection, or takes none."""
    # No code comes from one that could not even be asked.
    code = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or (
        isinstance(error, OperationalError) and (code is None or code.startswith(_SERVER_GOES))
    )


def postgresql_engine(url: URL) -> Engine:
    """Return an engine; a transaction with the option `immediate` holds the one write lock from its start."""
    defaults = {name: value for name, value in _TIMEOUTS.items() if name not in url.query}
    # The URL's own options win: they are the session's, and only what they leave open is set here.
    given = str(url.query.get("options", ""))
    local = "".join(f"SET LOCAL {name} = '{value}'; " for name, value in _LOCAL.items() if name not in given)
    engine = create_engine(
        url,
        # No statement is prepared on the server: behind PgBouncer the next one may run in another session.
        connect_args=defaults | {"prepare_threshold": None},
        isolation_level="READ COMMITTED",
        pool_size=10,
        max_overflow=40,
        # A connection that a restart of the server, or a proxy, has closed is replaced before it is used.
        pool_pre_ping=True,
    )

    # Of an extra, which only this database needs; `create_engine` has just imported its driver.
    from core.ledger.text import hold_any_text  # noqa: PLC0415

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        hold_any_text(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate", False)
        # One round trip: the driver sends statements without parameters as one simple query. The lock comes
        # last, so that the timeouts bound the wait for it.
        last = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        if immediate:
            last = f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"
        connection.exec_driver_sql(local + last)

    return engine
