"""Opening the ledger's database: created, migrated, durable, and never that of another service."""

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine

from core.domain import LedgerError
from core.ledger import database, open_ledger, sqlite
from core.ledger.database import Database
from core.ledger.schema import METADATA, VERSION
from tests.delivery.world import NOTIFIED, NOTIFY, NOW, begin, execute, look, open_at, outcomes, query, routed
from tests.users import as_somebody_else

ROOT = Path(__file__).parents[2]


def test_new_ledger_has_the_schema_of_the_code(tmp_path: Path) -> None:
    path = tmp_path / "some" / "folder" / "ledger.db"
    open_at(path).close()
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION.name, "compare_type": True}
        )
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_database_refuses_a_second_outcome(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_at(path).close()
    row = "('A-1', '2026-01-01', 'at_risk', 'sent', 0, 'run-1', '2026-01-01')"
    columns = "account_id, month, alert_type, status, attempts, run_id, updated_at"
    execute(path, f"INSERT INTO alert_outcomes ({columns}) VALUES {row}")  # noqa: S608
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        execute(path, f"INSERT INTO alert_outcomes ({columns}) VALUES {row}")  # noqa: S608


def test_current_ledger_is_opened_without_a_write(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_at(path).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    opened = open_at(path)
    assert opened.history.runs(limit=1).runs == []
    opened.close()
    holder.close()


def test_connections_write_ahead_and_durably(tmp_path: Path) -> None:
    """`synchronous` 2 is FULL: a claim survives a power cut before its request leaves."""
    opened = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    with opened.write() as writer, opened.read() as reader:
        for connection in (writer, reader):
            for pragma, expected in (
                ("journal_mode", "wal"),
                ("synchronous", 2),
                ("foreign_keys", 1),
                ("busy_timeout", sqlite.BUSY_TIMEOUT_SECONDS * 1000),
            ):
                assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar() == expected
    opened.close()


def test_readers_do_not_wait_for_a_writer(tmp_path: Path) -> None:
    opened = Database(f"sqlite:///{tmp_path / 'ledger.db'}")
    with opened.write() as writer:
        writer.execute(NOTIFY)
        with opened.read() as reader:
            assert reader.execute(NOTIFIED).all() == []
    with opened.read() as reader:
        assert reader.execute(NOTIFIED).all() == [("a@b",)]
    opened.close()


def test_error_rolls_the_transaction_back(tmp_path: Path) -> None:
    opened = Database(f"sqlite:///{tmp_path / 'ledger.db'}")

    def write_half() -> None:
        with opened.write() as writer:
            writer.execute(NOTIFY)
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    with opened.write() as writer:
        assert writer.execute(NOTIFIED).all() == []
    opened.close()


def test_processes_create_one_ledger_together(tmp_path: Path) -> None:
    program = (
        "import sys; from core.ledger.database import Database;"
        "print('ready', flush=True); sys.stdin.readline();"
        "[Database(f'sqlite:///{folder}/ledger.db').close() for folder in sys.argv[1:]]"
    )
    folders = [str(tmp_path / str(number)) for number in range(5)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, *folders],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(2)
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


def test_open_waits_for_a_ledger_in_creation(tmp_path: Path) -> None:
    """SQLite's busy timeout does not cover the switch to write-ahead logging."""
    path = tmp_path / "ledger.db"
    maker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    maker.execute("CREATE TABLE alembic_version (version_num TEXT)")
    maker.execute("BEGIN IMMEDIATE")
    threading.Timer(0.2, lambda: maker.execute("ROLLBACK")).start()
    open_at(path).close()
    maker.close()


def test_threads_share_one_open_ledger(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    found = []
    threads = [threading.Thread(target=lambda: found.append(open_ledger(url))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1


def test_table_of_an_older_ledger_stays(tmp_path: Path) -> None:
    """For example `health_checks`, which no version writes any more."""
    path = tmp_path / "ledger.db"
    open_at(path).close()
    execute(path, "CREATE TABLE health_checks (id INTEGER); INSERT INTO health_checks VALUES (1)")
    open_at(path).check_writable()
    assert query(path, "SELECT * FROM health_checks") == [(1,)]


def test_health_check_commits_a_write(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = open_at(path)
    sizes = []
    for _ in range(2):
        ledger.check_writable()
        sizes.append(path.with_name("ledger.db-wal").stat().st_size)
    assert 0 < sizes[0] < sizes[1]
    ledger.close()


def test_failed_creation_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"

    def create_all(connection: Connection, **_: object) -> None:
        real_create_all(connection)
        raise OSError("the power went")

    real_create_all = METADATA.create_all
    monkeypatch.setattr(METADATA, "create_all", create_all)
    with pytest.raises(LedgerError, match="the power went"):
        open_at(path)
    assert query(path, "SELECT name FROM sqlite_master") == []
    monkeypatch.undo()
    open_at(path).close()


def test_foreign_database_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    execute(path, "CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO runs VALUES (1, 'x')")
    with pytest.raises(LedgerError, match=r"table runs already exists\. Check DATABASE_URL"):
        open_at(path)
    assert query(path, "SELECT name FROM sqlite_master WHERE type = 'table'") == [("runs",)]
    assert query(path, "SELECT * FROM runs") == [(1, "x")]
    assert query(path, "PRAGMA journal_mode") == [("delete",)]


def test_restored_copy_writes_ahead_again(tmp_path: Path) -> None:
    """A copy by `VACUUM INTO` has another journal mode."""
    open_at(tmp_path / "ledger.db").close()
    copy = tmp_path / "copy.db"
    query(tmp_path / "ledger.db", "VACUUM INTO ?", str(copy))
    assert query(copy, "PRAGMA journal_mode") == [("delete",)]
    open_at(copy).close()
    assert query(copy, "PRAGMA journal_mode") == [("wal",)]


def test_foreign_tables_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "shared.db"
    execute(path, "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('x')")
    open_at(path).close()
    assert query(path, "SELECT * FROM alembic_version") == [("x",)]


def test_text_file_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Buy milk.\n" * 500)
    with pytest.raises(LedgerError, match="is not a database"):
        open_at(path)
    assert path.read_text() == "Buy milk.\n" * 500


def test_damaged_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_at(path).close()
    path.write_bytes(path.read_bytes()[:100] + b"\xff" * 8000)
    with pytest.raises(LedgerError, match="malformed"):
        open_at(path)


def test_newer_ledger_is_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    open_at(path).close()
    execute(path, f"UPDATE {VERSION.name} SET version_num = '9999'")  # noqa: S608
    with pytest.raises(LedgerError, match="has schema 9999, which this version does not know: update"):
        open_at(path)


def test_folder_as_ledger_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="unable to open database file"):
        open_at(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"File exists|Not a directory"):
        open_at(tmp_path / "file" / "ledger.db")


def test_read_only_ledger_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with as_somebody_else(tmp_path), pytest.raises(LedgerError, match="unable to open database file"):
        open_at(tmp_path / "ledger.db")
    tmp_path.chmod(0o755)
    path = tmp_path / "ledger.db"
    open_at(path).close()
    path.chmod(0o444)
    tmp_path.chmod(0o555)
    with as_somebody_else(tmp_path), pytest.raises(LedgerError, match=r"readonly|unable to open"):
        open_at(path).check_writable()
    tmp_path.chmod(0o755)


def test_full_database_rolls_the_plan_back(tmp_path: Path) -> None:
    """`max_page_count` of SQLite simulates a full disk."""
    path = tmp_path / "ledger.db"
    ledger = open_at(path)
    ledger.check_writable()
    with ledger._database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    alerts = [routed(f"A-{number:03}") for number in range(300)]
    with pytest.raises(LedgerError, match="full"):
        begin(ledger, "run-1", alerts)
    assert outcomes(path) == {}
    ledger.close()


def test_long_lock_fails_every_waiting_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (database, sqlite):
        monkeypatch.setattr(module, "BUSY_TIMEOUT_SECONDS", 0.2)
    path = tmp_path / "ledger.db"
    ledger = open_at(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    errors: list[str] = []

    def check() -> None:
        try:
            ledger.check_writable()
        except LedgerError as error:
            errors.append(str(error))

    threads = [threading.Thread(target=check) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert len(errors) == 3
    assert all("locked" in error for error in errors)
    holder.execute("ROLLBACK")
    holder.close()
    ledger.check_writable()
    ledger.close()


def test_removed_ledger_is_created_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    url = f"sqlite:///{path}"
    monkeypatch.setattr("core.ledger.ledger.container_warning", lambda _: None)
    first = open_ledger(url)
    assert open_ledger(url) is first
    assert caplog.text == ""
    path.unlink()
    assert first.is_gone()
    with pytest.raises(LedgerError, match="is gone, or another was put in its place"):
        first.check_writable()
    closed: list[bool] = []
    monkeypatch.setattr(first, "close", lambda: closed.append(True))
    monkeypatch.setattr("core.ledger.ledger.container_warning", lambda _: "of the container's own disk")
    second = open_ledger(url)
    assert second is not first
    assert closed, "its connections would keep the removed file on the disk"
    assert "of the container's own disk" in caplog.text
    second.check_writable()
    assert query(path, f"SELECT count(*) FROM {VERSION.name}") == [(1,)]  # noqa: S608


def test_replaced_ledger_takes_no_claim(tmp_path: Path) -> None:
    """After a backup is restored under a running service, its old handle belongs to a deleted file."""
    path, other = tmp_path / "ledger.db", tmp_path / "backup.db"
    ledger = open_at(path)
    open_at(other).close()
    [alert] = begin(ledger, "run-1", [routed("A-1")])
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    other.rename(path)
    with pytest.raises(LedgerError, match="another was put in its place"):
        ledger.claim("run-1", alert, NOW)
    ledger.close()


def test_threads_win_each_claim_once(tmp_path: Path) -> None:
    """Two ledgers on one file stand for two processes."""
    path = tmp_path / "ledger.db"
    ledgers = [open_at(path), open_at(path)]
    alerts = [routed(f"A-{number}") for number in range(15)]
    for number in range(20):
        begin(ledgers[number % 2], f"run-{number}", alerts)
    won: list[str] = []
    faults: list[BaseException] = []
    start = threading.Barrier(20)

    def claim_all(number: int) -> None:
        start.wait()
        try:
            claims = [ledgers[number % 2].claim(f"run-{number}", alert, NOW) for alert in alerts]
            won.extend(claim.key.account_id for claim in claims if claim.status == "sending")
        except BaseException as fault:  # noqa: BLE001
            faults.append(fault)

    threads = [threading.Thread(target=claim_all, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert sorted(won) == sorted(alert.account_id for alert in alerts)
    for number in range(20):
        ledgers[0].finish(f"run-{number}", None, NOW)
    runs = [look(ledgers[0], f"run-{number}").view.counts for number in range(20)]
    assert sum(counts.unconfirmed for counts in runs) == 15
    assert sum(counts.skipped_replay for counts in runs) == 15 * 19
    for ledger in ledgers:
        ledger.close()
