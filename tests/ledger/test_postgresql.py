"""A ledger on PostgreSQL: the same promises as on SQLite, kept by a server that may be anywhere."""

import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from core import postgresql as dialect
from core.database import VERSION_TABLE, Database
from core.domain import AlertStatus
from core.errors import LedgerError
from core.ledger import Ledger
from core.tables import METADATA, HealthCheckRow
from tests.delivery.world import NOW, begin, routed
from tests.postgresql import Server

ROOT = Path(__file__).parents[2]


def test_it_has_exactly_the_tables_of_the_code(postgresql_url: str) -> None:
    Database(postgresql_url).close()
    engine = create_engine(postgresql_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_processes_that_start_at_once_on_a_new_ledger_all_get_it(postgresql: Server) -> None:
    """Each migrates under the write lock; whoever comes second finds the schema current."""
    urls = [postgresql.new_database() for _ in range(3)]
    program = (
        "import sys; from core.database import Database; print('ready', flush=True); sys.stdin.readline();"
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


def test_a_claim_is_won_once_however_many_try_at_once(postgresql_url: str) -> None:
    """Each run has an engine of its own, as on hosts of their own."""
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


def test_a_reader_sees_one_state_and_waits_for_no_writer(postgresql_url: str) -> None:
    with closing(Database(postgresql_url)) as opened:
        with opened.read() as reader:
            assert reader.get(HealthCheckRow, 1) is None
            with opened.write() as writer:
                writer.add(HealthCheckRow(id=1, checked_at=NOW))
            assert reader.get(HealthCheckRow, 1) is None
        with opened.read() as reader:
            assert reader.get_one(HealthCheckRow, 1).checked_at == NOW


def test_a_writer_that_keeps_the_lock_ends_as_an_error_in_bounded_time(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(dialect._SESSION, "lock_timeout", "200ms")
    with (
        closing(Database(postgresql_url)) as holder,
        closing(Ledger(Database(postgresql_url))) as waiting,
        holder.write(),
        pytest.raises(LedgerError, match="lock timeout"),
    ):
        waiting.check_writable(NOW)


def test_connections_that_a_restart_cut_are_replaced(postgresql: Server, postgresql_url: str) -> None:
    """What was claimed before stays claimed, and its answer is recorded."""
    with closing(Ledger(Database(postgresql_url))) as ledger:
        alert = routed("A-1")
        begin(ledger, "run-1", [alert])
        claim = ledger.claim("run-1", alert, NOW)
        postgresql.end_connections(postgresql_url)
        assert claim.status is AlertStatus.SENDING
        assert ledger.deliveries("run-1")["A-1"].status is AlertStatus.SENDING
        ledger.finish("run-1", None, NOW)
        assert ledger.deliveries("run-1")["A-1"].status is AlertStatus.UNCONFIRMED


def test_a_connection_cut_inside_a_transaction_leaves_nothing_of_it(
    postgresql: Server, postgresql_url: str
) -> None:
    with closing(Database(postgresql_url)) as opened:

        def cut() -> None:
            with opened.write() as writer:
                writer.add(HealthCheckRow(id=1, checked_at=NOW))
                writer.flush()
                postgresql.end_connections(postgresql_url)

        with pytest.raises(LedgerError):
            cut()
        with opened.write() as writer:
            assert writer.get(HealthCheckRow, 1) is None


def test_a_ledger_of_a_newer_version_and_somebody_elses_tables_are_refused(postgresql: Server) -> None:
    newer, foreign = postgresql.new_database(), postgresql.new_database()
    Database(newer).close()
    for url, statement, word in (
        (newer, f"UPDATE {VERSION_TABLE} SET version_num = '9999'", "newer version"),  # noqa: S608
        (foreign, "CREATE TABLE runs (id int)", "tables of something else"),
    ):
        engine = create_engine(url)
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
        engine.dispose()
        with pytest.raises(LedgerError, match=word):
            Database(url)


def test_a_server_that_is_not_there_is_an_error_without_the_password() -> None:
    began = time.monotonic()
    with pytest.raises(LedgerError, match="can't be used") as caught:
        Database("postgresql://someone:hunter2canary@127.0.0.1:1/ledger")
    assert "hunter2canary" not in caught.value.message
    assert time.monotonic() - began < 30
