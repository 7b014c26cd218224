"""A ledger on PostgreSQL keeps the same promises as on SQLite."""

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from core.domain import Alert, AlertStatus, Delivery, LedgerError
from core.ledger import Ledger
from core.ledger import postgresql as dialect
from core.ledger.database import Database, parse_url
from core.ledger.postgresql import postgresql_engine
from core.ledger.schema import METADATA, VERSION
from core.runtime import Settings
from tests.delivery.world import MONTH, NOTIFIED, NOTIFY, NOW, begin, begin_retry, key, look, routed
from tests.postgresql import Server

ROOT = Path(__file__).parents[2]


def test_it_has_the_schema_of_the_code(postgresql_url: str) -> None:
    Database(postgresql_url).close()
    engine = create_engine(postgresql_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION.name, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_processes_create_one_schema_together(postgresql: Server) -> None:
    """Each process prepares the schema under the write lock; the second finds it current."""
    urls = [postgresql.new_database() for _ in range(3)]
    program = (
        "import sys; from core.ledger.database import Database;"
        "print('ready', flush=True); sys.stdin.readline();"
        "[Database(url).close() for url in sys.argv[1:]]"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, *urls],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, errors) == (0, "")


def test_claim_is_won_by_one_run(postgresql_url: str) -> None:
    """Each run has its own engine, as on different hosts."""
    runs = [f"run-{number}" for number in range(6)]
    ledgers = [Ledger(Database(postgresql_url)) for _ in runs]
    alert = routed("A-1")
    for run_id, ledger in zip(runs, ledgers, strict=True):
        begin(ledger, run_id, [alert])
    found: list[AlertStatus] = []
    start = threading.Barrier(len(runs))

    def claim(run_id: str, ledger: Ledger) -> None:
        start.wait()
        found.append(ledger.claim(run_id, alert, NOW).status)

    threads = [threading.Thread(target=claim, args=pair) for pair in zip(runs, ledgers, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(runs)
    assert found.count(AlertStatus.SENDING) == 1
    for ledger in ledgers:
        ledger.close()


def test_reader_does_not_wait_for_a_writer(postgresql_url: str) -> None:
    with closing(Database(postgresql_url)) as opened:
        with opened.read() as reader:
            assert reader.execute(NOTIFIED).all() == []
            with opened.write() as writer:
                writer.execute(NOTIFY)
            assert reader.execute(NOTIFIED).all() == []
        with opened.read() as reader:
            assert reader.execute(NOTIFIED).all() == [("a@b",)]


def test_hung_writer_loses_the_lock(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(dialect._LOCAL, "lock_timeout", "200ms")
    with (
        closing(Database(postgresql_url)) as holder,
        closing(Ledger(Database(postgresql_url))) as waiting,
        holder.write(),
        pytest.raises(LedgerError, match="lock timeout"),
    ):
        waiting.check_writable()


def test_cut_connections_are_replaced(postgresql: Server, postgresql_url: str) -> None:
    """Earlier claims stay valid, and their answers are recorded."""
    with closing(Ledger(Database(postgresql_url))) as ledger:
        alert = routed("A-1")
        begin(ledger, "run-1", [alert])
        claim = ledger.claim("run-1", alert, NOW)
        postgresql.end_connections(postgresql_url)
        assert claim.status is AlertStatus.SENDING
        assert ledger.history.deliveries(MONTH)[alert.key].status == "sending"
        ledger.finish("run-1", None, NOW)
        assert look(ledger, "run-1").statuses == {"A-1": "unconfirmed"}


def test_cut_connection_rolls_back(postgresql: Server, postgresql_url: str) -> None:
    with closing(Database(postgresql_url)) as opened:

        def cut() -> None:
            with opened.write() as writer:
                writer.execute(NOTIFY)
                postgresql.end_connections(postgresql_url)

        with pytest.raises(LedgerError):
            cut()
        with opened.write() as writer:
            assert writer.execute(NOTIFIED).all() == []


def test_newer_or_foreign_schema_is_refused(postgresql: Server) -> None:
    newer, foreign = postgresql.new_database(), postgresql.new_database()
    Database(newer).close()
    for url, statement, word in (
        (newer, f"UPDATE {VERSION.name} SET version_num = '9999'", "has schema 9999"),  # noqa: S608
        (foreign, "CREATE TABLE runs (id int)", '"runs" already exists. Check DATABASE_URL'),
    ):
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()
        with pytest.raises(LedgerError, match=word):
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
        ("127.0.0.1:1/ledger", "Connection refused"),
        ("nowhere.invalid/ledger", "nowhere.invalid"),
        ("/ledger?host=/no/such/folder", "No such file or directory"),
    ],
)
def test_missing_server_is_named_without_password(where: str, why: str) -> None:
    said = refusal(f"postgresql://someone:canary%2Fhunter2@{where}")
    assert why in said
    # Of the URL's authority, only the host is shown.
    assert "someone" not in said
    assert "port 1" not in said


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


def test_refusal_is_named_without_password(postgresql: Server, postgresql_url: str) -> None:
    login = postgresql.new_login(postgresql_url, "p@ss/canary")
    assert "password authentication failed" in refusal(login.format(password="wrong-canary"))
    missing = postgresql_url.replace("/test_", "/no_test_")
    assert "does not exist" in refusal(missing)
    Database(login.format(password="p%40ss%2Fcanary")).close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
@pytest.mark.parametrize(
    ("query", "setting", "value"),
    [
        ("", "statement_timeout", "30s"),
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
    assert Settings(database_url=url).database_url == url
    engine = postgresql_engine(parse_url(url))
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SHOW {setting}").scalar() == value
    engine.dispose()


RESTARTED: list[tuple[Callable[[Ledger, Alert], object], dict[str, str]]] = [
    (lambda ledger, alert: ledger.claim("run-1", alert, NOW), {"A-2": "unconfirmed"}),
    (
        lambda ledger, _: ledger.record_answer("run-1", Delivery(key("A-1"), AlertStatus.SENT, "amer"), NOW),
        {"A-1": "sent"},
    ),
    (lambda ledger, alert: ledger.give_up("run-1", [alert], "no_service", None, NOW), {}),
    (lambda ledger, _: ledger.record_result("run-1"), {}),
    (lambda ledger, _: ledger.finish("run-1", None, NOW), {}),
]
"""The writes of a run after its plan, and what they change for the alerts."""


@pytest.mark.parametrize(("write", "changed"), RESTARTED, ids=["claim", "answer", "give up", "result", "end"])
def test_writes_of_a_run_wait_for_a_restart(
    postgresql: Server,
    postgresql_url: str,
    write: Callable[[Ledger, Alert], object],
    changed: dict[str, str],
) -> None:
    with closing(Ledger(Database(postgresql_url))) as ledger:
        alerts = [routed("A-1"), routed("A-2")]
        begin(ledger, "run-1", alerts)
        ledger.claim("run-1", alerts[0], NOW)
        postgresql.stop()
        with pytest.raises(LedgerError):
            ledger.check_writable()
        back = threading.Timer(0.2, postgresql.start)
        back.start()
        try:
            write(ledger, alerts[1])
        finally:
            back.join()
        ledger.finish("run-1", None, NOW)
        assert look(ledger, "run-1").statuses == {"A-1": "unconfirmed", "A-2": "failed"} | changed


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


@pytest.mark.parametrize("committed", [True, False], ids=["committed", "rolled back"])
def test_claim_without_a_commit_answer_is_claimed(
    postgresql: Server,
    postgresql_url: str,
    committed: bool,  # noqa: FBT001
) -> None:
    with closing(Ledger(Database(postgresql_url))) as ledger:
        alert = begin_retry(ledger, "run-1")
        cuts = lose_an_answer(ledger, postgresql, postgresql_url, committed=committed)
        claim = ledger.claim("run-1", alert, NOW)
        assert cuts == [committed]
        assert (claim.status, claim.reason) == (AlertStatus.SENDING, "retry_of_unconfirmed")
        assert begin(ledger, "run-2", [alert], retry_unconfirmed=True) == []
        ledger.record_answer("run-1", Delivery(alert.key, AlertStatus.SENT, "amer", sent_at=NOW), NOW)
        ledger.finish("run-1", None, NOW)
        assert look(ledger, "run-1").statuses == {"A-1": "sent"}


def test_answer_without_a_commit_answer_is_recorded_once(postgresql: Server, postgresql_url: str) -> None:
    """A failed retry of an unconfirmed alert stays unconfirmed: the first attempt may have been delivered."""
    with closing(Ledger(Database(postgresql_url))) as ledger:
        alert = begin_retry(ledger, "run-1")
        ledger.claim("run-1", alert, NOW)
        cuts = lose_an_answer(ledger, postgresql, postgresql_url, committed=True)
        refused = Delivery(alert.key, AlertStatus.FAILED, "amer", "server_error", "Slack answered 500")
        recorded = ledger.record_answer("run-1", refused, NOW)
        assert cuts == [True]
        assert recorded.status is AlertStatus.UNCONFIRMED
        assert begin(ledger, "run-2", [alert]) == []
