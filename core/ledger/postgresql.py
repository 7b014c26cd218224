"""PostgreSQL as the ledger's database: one writer at a time as on SQLite, and a limit for every wait.

A writing transaction first takes an advisory lock of the database. The server releases the lock when the
transaction ends, or its connection or process dies. READ COMMITTED is then enough: each statement after the
lock sees all earlier commits, and writers cannot deadlock. A reading transaction has one snapshot
(REPEATABLE READ).
"""

from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, OperationalError

WRITE_LOCK = 0x5249534B414C5254
"""The advisory lock of writers, for all of one database: "RISKALRT" in ASCII."""

_TIMEOUTS: dict[str, Any] = {
    "connect_timeout": 10,
    # The kernel closes connections to a host that no longer answers.
    "tcp_user_timeout": 30_000,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}
_LOCAL = {
    "statement_timeout": "30s",
    "lock_timeout": "30s",
    # A hung writer must not keep the lock permanently.
    "idle_in_transaction_session_timeout": "60s",
    # A claim must survive a crash of the server, or the alert is sent twice.
    "synchronous_commit": "on",
}
"""Settings of each transaction. Behind PgBouncer, the next transaction may be in another session."""

_SERVER_AWAY = ("08", "57P")
"""The prefixes of SQLSTATE for a failed connection, and for a server that stops, crashed or starts."""


def is_cut(error: DBAPIError) -> bool:
    """Return whether the server ended the connection, or accepts none."""
    # A failed connection attempt has no code.
    code = getattr(error.orig, "sqlstate", None)
    return error.connection_invalidated or (
        isinstance(error, OperationalError) and (code is None or code.startswith(_SERVER_AWAY))
    )


def postgresql_engine(url: URL) -> Engine:
    """Return an engine; a transaction with the option `immediate` holds the one write lock from its start."""
    defaults = {name: value for name, value in _TIMEOUTS.items() if name not in url.query}
    # The options of the URL take precedence: only options that they leave out are set here.
    given = str(url.query.get("options", ""))
    local = "".join(f"SET LOCAL {name} = '{value}'; " for name, value in _LOCAL.items() if name not in given)
    engine = create_engine(
        url,
        # No statement is prepared on the server: behind PgBouncer, it may run in another session.
        connect_args=defaults | {"prepare_threshold": None},
        isolation_level="READ COMMITTED",
        # Test each connection before its use: a restart of the server, or a proxy, may have closed it.
        pool_pre_ping=True,
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        # Only this database needs psycopg; `create_engine` has imported it.
        from psycopg.types.string import StrDumperUnknown  # noqa: PLC0415

        class WithoutNul(StrDumperUnknown):
            """Replace NUL as the reader of the source does, because PostgreSQL accepts no NUL in text."""

            def dump(self, obj: str) -> Any:
                return super().dump(obj.replace("\0", "\ufffd"))

        connection.adapters.register_dumper(str, WithoutNul)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get("immediate")
        # One round trip: the driver sends statements without parameters as one simple query. The lock comes
        # last, so that the timeouts bound the wait for it.
        snapshot = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
        lock = f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"
        connection.exec_driver_sql(local + (lock if immediate else snapshot))

    return engine
