"""A ledger on PostgreSQL keeps the same promises as on SQLite."""

import socket
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg
import pytest
from psycopg import errors
from sqlalchemy import create_engine, make_url, select
from sqlalchemy.exc import DBAPIError

from core.domain import Alert, AlertStatus, LedgerError, Notification, NotificationStatus, SupportMessage
from core.ledger import Ledger
from core.ledger import postgresql as dialect
from core.ledger.database import RESTART_SECONDS, Database, LedgerCut, through_a_restart, try_write
from core.ledger.postgresql import is_cut, postgresql_engine
from core.runtime import Settings
from tests.delivery.world import ME, MONTH, NOW, REQUEST, begin, begin_retry, failed, look, routed, sent
from tests.postgresql import Server
from tests.service import closed_port
from tests.waiting import until


def test_hung_writer_loses_the_lock(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dialect._LOCAL, "lock_timeout", "200ms")
    url = postgresql.new_database()
    with (
        closing(Database(url)) as holder,
        closing(Ledger(Database(url))) as waiting,
        holder.write(),
        pytest.raises(LedgerError, match="lock timeout") as caught,
    ):
        waiting.check_writable()
    assert caught.type is LedgerError, "the write would be repeated"


def test_transaction_that_slept_too_long_is_cut(postgresql: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    url = postgresql.new_database()

    def write_after_the_cut() -> None:
        with database.write() as session:
            until(lambda: not postgresql.waits_in_a_transaction(url))
            session.execute(select(1))

    with closing(Database(url)) as database:
        # Only now: on a busy machine, the server would also cut the opening of the database.
        monkeypatch.setitem(dialect._LOCAL, "idle_in_transaction_session_timeout", "100ms")
        database._writer = postgresql_engine(database.url).execution_options(immediate=True)
        with pytest.raises(LedgerCut, match="idle-in-transaction"):
            write_after_the_cut()
        database._writer.dispose()


def test_cut_connections_are_replaced(ledger: Ledger, postgresql: Server, url: str) -> None:
    """Earlier claims stay valid, and their answers are recorded."""
    [alert] = begin(ledger, "run-1", [routed("A-1")])
    ledger.claim("run-1", alert, NOW)
    postgresql.end_connections(url)
    assert ledger.history.deliveries(MONTH)[alert.key].status == "sending"
    ledger.finish("run-1", None, NOW)
    assert look(ledger, "run-1").statuses == {"A-1": "unconfirmed"}


def test_foreign_database_is_refused(url: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE runs (id int)")
    engine.dispose()
    with pytest.raises(LedgerError, match=r'"runs" already exists\. Check DATABASE_URL'):
        Database(url)


def refusal(url: str) -> str:
    """Return the line that says why the ledger cannot be opened."""
    with pytest.raises(LedgerError) as caught:
        Database(url).close()
    assert caught.value.code == "ledger_unavailable"
    assert "canary" not in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.message.endswith("Check DATABASE_URL, its server and the role's privileges")
    return caught.value.message


@pytest.mark.parametrize(
    ("where", "why"),
    [
        ("127.0.0.1:{port}/ledger", "Connection refused"),
        ("nowhere.invalid/ledger", "nowhere.invalid"),
        ("/ledger?host=/no/such/folder", "No such file or directory"),
    ],
)
def test_missing_server_is_named_without_password(where: str, why: str) -> None:
    said = refusal(f"postgresql://someone:canary%2Fhunter2@{where.format(port=closed_port())}")
    assert why in said
    # Of the URL's authority, only the host is shown.
    assert "someone" not in said
    assert ", port" not in said


@pytest.mark.parametrize(("name", "value"), [("PGPORT", "none"), ("PGSSLMODE", "none"), ("PGHOST", "/no")])
def test_bad_libpq_variable_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PGDATA", "/of/a/server")
    with pytest.raises(LedgerError, match=rf"\. Check DATABASE_URL, {name}, its server and "):
        Database("postgresql:///ledger").close()


def test_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "timeout" in refusal(f"postgresql://u:canary@127.0.0.1:{port}/ledger?connect_timeout=2")


def test_refusal_is_named_without_password(postgresql: Server, url: str) -> None:
    login = postgresql.new_login(url, "p@ss/canary")
    assert "password authentication failed" in refusal(login.format(password="wrong-canary"))
    assert "does not exist" in refusal(url.replace("/test_", "/no_test_"))
    Database(login.format(password="p%40ss%2Fcanary")).close()


def test_check_of_a_ledger_that_is_read_only_fails(postgresql: Server, url: str) -> None:
    Database(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC")
    engine.dispose()
    with pytest.raises(LedgerError, match="permission denied"):
        try_write(postgresql.new_login(url, "any").format(password="any"))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
@pytest.mark.parametrize(
    ("query", "setting", "value"),
    [
        ("", "statement_timeout", "30s"),
        ("", "idle_in_transaction_session_timeout", "1min"),
        ("&application_name=alerts", "application_name", "alerts"),
        ("&options=-c%20statement_timeout%3D7s", "statement_timeout", "7s"),
        ("&options=-c%20search_path%3Dother", "synchronous_commit", "on"),
        ("&connect_timeout=3&sslmode=disable", "lock_timeout", "30s"),
    ],
)
def test_options_of_the_url_win(
    postgresql: Server, scheme: str, query: str, setting: str, value: str
) -> None:
    url = f"{scheme}://postgres@/postgres?host={postgresql.folder}{query}"
    engine = postgresql_engine(make_url(Settings(database_url=url).database_url))
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SHOW {setting}").scalar() == value
    engine.dispose()


def test_writer_sees_all_earlier_commits_whatever_the_default_is(url: str) -> None:
    isolation = "&options=-c%20default_transaction_isolation%3Dserializable"
    engine = postgresql_engine(make_url(url + isolation)).execution_options(immediate=True)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
    engine.dispose()


@pytest.mark.parametrize(("query", "seconds"), [("", "10"), ("&connect_timeout=3", "3")])
def test_connection_is_attempted_as_long_as_the_url_says(
    postgresql: Server, query: str, seconds: str
) -> None:
    url = f"postgresql+psycopg://postgres@/postgres?host={postgresql.folder}{query}"
    engine = postgresql_engine(make_url(url))
    with closing(engine.raw_connection()) as connection:
        assert connection.driver_connection.info.get_parameters()["connect_timeout"] == seconds
    engine.dispose()


MAIL = Notification(SupportMessage("subject", "body"), NotificationStatus.SENT)
Write = Callable[[Ledger, Alert], object]

RESTARTED: dict[str, tuple[Write, dict[str, str]]] = {
    "close of dead runs": (lambda ledger, _: ledger.close_dead_runs(NOW), {}),
    "claim": (lambda ledger, alert: ledger.claim("run-1", alert, NOW), {"A-2": "unconfirmed"}),
    "answer": (lambda ledger, _: ledger.record_answer("run-1", sent("A-1"), NOW), {"A-1": "sent"}),
    "result": (lambda ledger, _: ledger.record_result("run-1"), {}),
    "claim of the mail": (lambda ledger, _: ledger.claim_notification("run-1", "a@b"), {}),
    "mail": (
        lambda ledger, _: ledger.record_notification("run-1", MAIL, address="a@b", digest="d"),
        {},
    ),
    "end": (lambda ledger, _: ledger.finish("run-1", None, NOW), {}),
}
"""The writes of a run beside its plan, and what each changes for the alerts."""


@pytest.mark.parametrize(("write", "changed"), RESTARTED.values(), ids=RESTARTED)
def test_writes_of_a_run_wait_for_a_restart(
    ledger: Ledger, postgresql: Server, write: Write, changed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = begin(ledger, "run-1", [routed("A-1"), routed("A-2")])
    ledger.claim("run-1", first, NOW)
    waits = postgresql.stop_until_a_retry(monkeypatch)
    try:
        write(ledger, second)
    finally:
        postgresql.ensure_up()
    assert waits
    ledger.finish("run-1", None, NOW)
    assert look(ledger, "run-1").statuses == {"A-1": "unconfirmed", "A-2": "failed"} | changed


@pytest.mark.parametrize(
    ("error", "cut"),
    [
        (psycopg.OperationalError, True),  # no connection
        (errors.ConnectionFailure, True),
        (errors.AdminShutdown, True),
        (errors.QueryCanceled, False),
        (errors.LockNotAvailable, False),
        (psycopg.ProgrammingError, False),
    ],
)
def test_only_an_ended_connection_is_cut(error: type[psycopg.Error], *, cut: bool) -> None:
    assert is_cut(DBAPIError.instance("", {}, error(), psycopg.Error)) is cut


@pytest.mark.parametrize(("fault", "seconds"), [(LedgerCut, RESTART_SECONDS), (LedgerError, 0)])
def test_only_a_server_that_is_away_is_waited_for(
    fault: type[LedgerError], seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []

    @through_a_restart
    def write() -> None:
        raise fault("gone")

    monkeypatch.setattr(time, "monotonic", lambda: sum(waits))
    monkeypatch.setattr(write.retry, "sleep", waits.append)
    with pytest.raises(fault, match="gone"):
        write()
    assert sum(waits) == pytest.approx(seconds, abs=0.2)


def lose_an_answer(ledger: Ledger, server: Server, url: str, *, committed: bool) -> list[bool]:
    """Cut the connection before or after the next commit on the server; return what happened so far."""
    engine, cuts = ledger._database._engine, []
    commit = engine.dialect.do_commit

    def cut(connection: Any) -> None:
        if committed:
            commit(connection)
        server.end_connections(url)
        cuts.append(committed)
        engine.dialect.do_commit = commit
        connection.cursor().execute("SELECT 1")

    engine.dialect.do_commit = cut
    return cuts


def test_begin_without_a_commit_answer_is_begun_once(ledger: Ledger, postgresql: Server, url: str) -> None:
    """Otherwise a run that never was would stay running."""
    cuts = lose_an_answer(ledger, postgresql, url, committed=True)
    ledger.begin_run("run-1", REQUEST, ME, None, NOW)
    assert cuts == [True]
    assert [run.status for run in ledger.history.runs().runs] == ["running"]


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "rolled back"])
def test_claim_without_a_commit_answer_is_claimed(
    ledger: Ledger, postgresql: Server, url: str, *, committed: bool
) -> None:
    alert = begin_retry(ledger, "run-1")
    cuts = lose_an_answer(ledger, postgresql, url, committed=committed)
    claim = ledger.claim("run-1", alert, NOW)
    assert cuts == [committed]
    assert (claim.status, claim.reason) == (AlertStatus.SENDING, "retry_of_unconfirmed")
    assert begin(ledger, "run-2", [alert], retry_unconfirmed=True) == []
    ledger.record_answer("run-1", sent("A-1"), NOW)
    ledger.finish("run-1", None, NOW)
    assert look(ledger, "run-1").statuses == {"A-1": "sent"}


def test_answer_without_a_commit_answer_is_recorded_once(
    ledger: Ledger, postgresql: Server, url: str
) -> None:
    """A failed retry of an unconfirmed alert stays unconfirmed: the first attempt may have been delivered."""
    alert = begin_retry(ledger, "run-1")
    ledger.claim("run-1", alert, NOW)
    cuts = lose_an_answer(ledger, postgresql, url, committed=True)
    assert ledger.record_answer("run-1", failed("A-1"), NOW).status is AlertStatus.UNCONFIRMED
    assert cuts == [True]
    assert begin(ledger, "run-2", [alert]) == []
