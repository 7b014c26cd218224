"""Opening the ledger's database: created, durable, and never that of another service."""

import hashlib
import logging
import os
import resource
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial
from itertools import chain, cycle
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any
from unittest import TestCase
from unittest.mock import Mock

import pytest
from sqlalchemy import URL, Connection, event, make_url, text, update
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.domain import LedgerError
from core.ledger import Ledger, database, known_deliveries, open_ledger, sqlite
from core.ledger.database import Database, translated_errors, try_write
from core.ledger.history import History
from core.ledger.schema import METADATA, SCHEMA_VERSION, VERSION
from core.runtime import protect
from tests.delivery.world import (
    MONTH,
    NOTIFIED,
    NOTIFY,
    NOW,
    at_once,
    begin,
    execute,
    look,
    open_at,
    query,
    routed,
)
from tests.postgresql import Server
from tests.waiting import HANG_SECONDS, at_the_first_retry
from tests.warm import Forked, barrier


def test_database_refuses_a_second_outcome(path: Path, ledger: Ledger) -> None:
    [alert] = begin(ledger, "run", [routed("A-1")])
    ledger.claim("run", alert, NOW)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        execute(path, "INSERT INTO alert_outcomes SELECT * FROM alert_outcomes")


def test_changed_tables_have_a_new_schema_version() -> None:
    """Otherwise a ledger with the former tables is opened, and its runs fail."""
    columns = [
        (str(column), str(column.type), column.nullable, column.primary_key)
        for table in METADATA.sorted_tables
        for column in table.columns
    ]
    digest = hashlib.sha256(repr(columns).encode()).hexdigest()[:12]
    assert (SCHEMA_VERSION, digest) == ("0004", "ae22f257709e")


@pytest.mark.parametrize(
    ("read", "plan"),
    [
        (lambda history: history.deliveries(MONTH), "SEARCH alert_outcomes USING PRIMARY KEY (month=?)"),
        (History.gauges, "SCAN alert_outcomes USING COVERING INDEX"),
    ],
    ids=["of a month", "for a scrape"],
)
def test_outcomes_are_read_by_an_index(
    path: Path, ledger: Ledger, read: Callable[[History], object], plan: str
) -> None:
    """Other writers wait while a run's plan reads a month; a scrape does not read the texts of years."""
    statements: dict[str, Any] = {}

    def capture(_connection: object, _cursor: object, sql: str, parameters: Any, *_: object) -> None:
        statements[sql] = parameters

    event.listen(ledger._database._engine, "before_cursor_execute", capture)
    read(ledger.history)
    [(sql, parameters)] = [one for one in statements.items() if "FROM alert_outcomes" in one[0]]
    assert query(path, f"EXPLAIN QUERY PLAN {sql}", *parameters)[0][3].startswith(plan)


def test_current_ledger_is_opened_without_a_write(path: Path, ledger: Ledger) -> None:
    with ledger._database.write():
        opened = open_at(path)
        assert opened.history.runs(limit=1).runs == []
        opened.close()


@pytest.mark.parametrize(
    "fault",
    [kind("why canary") for kind in (PoolTimeoutError, ImportError, sqlite3.OperationalError, OSError)],
    ids=repr,
)
@pytest.mark.parametrize(("url", "place"), [("sqlite:///x.db", "disk"), ("postgresql://h/x", "server")])
def test_each_fault_of_a_driver_names_the_ledger(fault: Exception, url: str, place: str) -> None:
    """No connection is free, the driver is not installed, the switch to write-ahead logging failed."""
    protect(["canary"])
    found = rf"^The ledger {url} cannot be used: why \*\*\*\. Check DATABASE_URL, its {place} and "
    with pytest.raises(LedgerError, match=found), translated_errors(make_url(url)):
        raise fault


def test_connections_write_ahead_and_durably(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`synchronous` 2 is FULL: a claim survives a power cut before its request leaves.

    The defaults of a build may be weaker.
    """
    connect = sqlite3.connect

    def connect_weakly(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.executescript("PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF")
        return connection

    monkeypatch.setattr(sqlite3.dbapi2, "connect", connect_weakly)
    wanted = {
        "journal_mode": "wal",
        "synchronous": 2,
        "fullfsync": 1,
        "foreign_keys": 1,
        "busy_timeout": sqlite.BUSY_TIMEOUT_SECONDS * 1000,
    }
    with (
        closing(open_at(path)) as ledger,
        ledger._database.write() as writer,
        ledger._database.read() as reader,
    ):
        for session in (writer, reader):
            found = {name: session.scalar(text(f"PRAGMA {name}")) for name in wanted}
            assert found == wanted


def test_reader_waits_for_no_writer_and_sees_one_state(ledger: Ledger) -> None:
    database = ledger._database
    with database.read() as reader:
        assert reader.execute(NOTIFIED).all() == []
        with database.write() as writer:
            writer.execute(NOTIFY)
            with database.read() as another:
                assert another.execute(NOTIFIED).all() == []
        assert reader.execute(NOTIFIED).all() == []
    with database.read() as reader:
        assert reader.execute(NOTIFIED).all() == [("a@b",)]


def test_error_rolls_the_transaction_back(ledger: Ledger) -> None:
    def write_half() -> None:
        with ledger._database.write() as writer:
            writer.execute(NOTIFY)
            raise KeyError

    with pytest.raises(KeyError):
        write_half()
    with ledger._database.write() as writer:
        assert writer.execute(NOTIFIED).all() == []


def create(urls: list[str], start: Barrier) -> None:
    """Open the ledgers, as other processes do at the same time."""
    for url in urls:
        start.wait(HANG_SECONDS)
        try:
            Database(url).close()
        except BaseException:
            # The other processes need not wait for this one.
            start.abort()
            raise


@pytest.mark.parametrize("backend", ["sqlite", "postgresql"])
def test_processes_create_one_ledger_together(
    backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each process prepares the schema under the write lock; the second finds it current."""
    urls = [f"sqlite:///{tmp_path}/new/{number}/ledger.db" for number in range(5)]
    if backend == "postgresql":
        server: Server = request.getfixturevalue("postgresql")
        urls = [server.new_database() for _ in range(3)]
    start = barrier(3)
    processes = [Forked(create, urls, start) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]


@pytest.mark.parametrize("created", [True, False])
def test_open_waits_for_a_ledger_in_creation(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, created: bool
) -> None:
    """SQLite's busy timeout does not cover the switch to write-ahead logging.

    A copy of a ledger by `VACUUM INTO` needs this switch too.
    """
    open_at(path).close()
    maker = sqlite3.connect(path, isolation_level=None)
    maker.execute("PRAGMA journal_mode=DELETE")
    maker.execute("BEGIN IMMEDIATE")
    if created:
        waits = at_the_first_retry(monkeypatch, lambda: maker.execute("ROLLBACK"))
        open_at(path).close()
        assert query(path, "PRAGMA journal_mode") == [("wal",)]
    else:
        never = partial(monkeypatch.setattr, time, "monotonic", lambda: float("inf"))
        waits = at_the_first_retry(monkeypatch, never)
        with pytest.raises(LedgerError, match="database is locked"):
            open_at(path)
    maker.close()
    assert waits


def test_only_a_busy_ledger_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    at_the_first_retry(monkeypatch, lambda: pytest.fail("another fault is repeated"))
    broken = Mock(raw_connection=Mock(side_effect=sqlite3.OperationalError("disk I/O error")))
    with pytest.raises(sqlite3.OperationalError, match="disk I/O error"):
        sqlite.switch_to_wal(broken)


def test_threads_share_one_open_ledger(path: Path) -> None:
    opened = at_once(*[lambda: open_ledger(f"sqlite:///{path}")] * 8)
    assert len(set(map(id, opened))) == 1


def test_health_check_commits_a_write(path: Path, ledger: Ledger) -> None:
    sizes = []
    for _ in range(2):
        ledger.check_writable()
        sizes.append(path.with_name("ledger.db-wal").stat().st_size)
    assert 0 < sizes[0] < sizes[1]


def test_failed_creation_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_foreign_tables_stay_as_they_are(path: Path) -> None:
    execute(path, "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('x')")
    open_at(path).close()
    assert query(path, "SELECT * FROM alembic_version") == [("x",)]


@pytest.mark.parametrize(
    ("kept", "why"), [(0, "is not a database"), (100, "malformed")], ids=["another file", "damaged"]
)
def test_file_that_is_no_ledger_is_refused_and_kept(path: Path, kept: int, why: str) -> None:
    open_at(path).close()
    content = path.read_bytes()[:kept] + b"\xff" * 8000
    path.write_bytes(content)
    with pytest.raises(LedgerError, match=why):
        open_at(path)
    assert path.read_bytes() == content


def test_newer_ledger_is_refused(ledger: Ledger) -> None:
    database = ledger._database
    with database.write() as connection:
        connection.execute(update(VERSION).values(version_num="9999"))
    with pytest.raises(LedgerError, match="has schema 9999, which this version does not know: update"):
        Database(database.url.render_as_string(hide_password=False))


def test_refused_ledger_is_closed(path: Path) -> None:
    open_at(path).close()
    execute(path, "UPDATE risk_alerts_version SET version_num = '9999'")
    with pytest.raises(LedgerError):
        open_at(path)
    ledger = path.stat()
    for descriptor in os.listdir("/dev/fd"):  # noqa: PTH208  # only the numbers
        with suppress(OSError):  # the folder itself is closed by now
            assert not os.path.samestat(os.fstat(int(descriptor)), ledger)


def test_folder_as_ledger_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="unable to open database file"):
        open_at(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match=r"File exists|Not a directory"):
        open_at(tmp_path / "file" / "ledger.db")


def test_check_of_a_new_ledger_leaves_no_file(tmp_path: Path) -> None:
    """A path in a URL is decoded: `%20` in the name of a folder is `%2520` in the URL."""
    folder = tmp_path / "a?b#c %20d"
    folder.mkdir()
    url = URL.create("sqlite", database=f"{folder}/ledger.db").render_as_string()
    assert try_write(url) == "can be created"
    assert [*tmp_path.rglob("*")] == [folder]


def test_ledger_that_cannot_be_looked_for_is_not_missing(tmp_path: Path) -> None:
    """`Path.exists` hides some errors; a preview would then show sent alerts as new ones."""
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").touch()
    for name, why in (("loop", "symbolic links"), ("file/ledger.db", "Not a directory")):
        with pytest.raises(LedgerError, match=why):
            known_deliveries(f"sqlite:///{tmp_path}/{name}", MONTH)


def test_long_lock_fails_every_waiting_writer(
    path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (database, sqlite):
        monkeypatch.setattr(module, "BUSY_TIMEOUT_SECONDS", 0.2)
    waiting = open_at(path)

    def check(opened: Ledger) -> None:
        with pytest.raises(LedgerError, match="locked"):
            opened.check_writable()

    with ledger._database.write():
        at_once(*(partial(check, opened) for opened in (waiting, waiting, waiting, ledger)))
    waiting.check_writable()
    waiting.close()


def fail_to_create(path: Path) -> None:
    """Open a ledger that cannot be created, and assert that nothing is logged."""
    # The first page fits, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    for create in (try_write, open_ledger):
        with TestCase().assertNoLogs(), pytest.raises(LedgerError, match="cannot be used"):
            create(f"sqlite:///{path}")


def test_ledger_that_cannot_be_created_is_not_logged_as_new(path: Path) -> None:
    assert Forked(fail_to_create, path).wait() == 0


def test_ledger_that_exists_by_now_is_not_logged_as_new(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Another process may create it after the first look; a later version may migrate it."""
    open_at(path).close()
    looks = iter([None, SCHEMA_VERSION])
    monkeypatch.setattr(database, "_version", lambda _: next(looks))
    caplog.set_level(logging.INFO)
    open_at(path).close()
    assert caplog.messages == []


def test_removed_ledger_is_created_again(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{path}"
    monkeypatch.setattr("core.ledger.ledger.container_warning", lambda _: None)
    caplog.set_level(logging.INFO)
    first = open_ledger(url)
    # In a wrong folder, the default ledger is a new one, which would send the month again.
    assert caplog.messages == [f"New ledger {url}: it has no alerts of earlier runs"]
    caplog.clear()
    open_at(path).close()
    assert open_ledger(url) is first
    assert caplog.text == ""
    path.unlink()
    assert first.is_gone()
    with pytest.raises(LedgerError, match="was removed or replaced"):
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


def test_replaced_ledger_takes_no_claim(path: Path, ledger: Ledger, tmp_path: Path) -> None:
    """After a backup is restored under a running service, its old handle belongs to a deleted file."""
    other = tmp_path / "backup.db"
    open_at(other).close()
    [alert] = begin(ledger, "run-1", [routed("A-1")])
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    other.rename(path)
    with pytest.raises(LedgerError, match="was removed or replaced"):
        ledger.claim("run-1", alert, NOW)


def test_threads_win_each_claim_once(ledger: Ledger) -> None:
    """Two ledgers on one database stand for two processes."""
    url = ledger._database.url.render_as_string(hide_password=False)
    alerts = [routed(f"A-{number}") for number in range(15)]
    runs = [f"run-{number}" for number in range(20)]
    for run_id in runs:
        begin(ledger, run_id, alerts)

    def claim_all(run_id: str, opened: Ledger) -> list[str]:
        claims = [opened.claim(run_id, alert, NOW) for alert in alerts]
        return [claim.key.account_id for claim in claims if claim.status == "sending"]

    with closing(Ledger(Database(url))) as another:
        pairs = zip(runs, cycle([ledger, another]))  # the ledgers never end
        won = at_once(*(partial(claim_all, *pair) for pair in pairs))
    assert sorted(chain(*won)) == sorted(alert.account_id for alert in alerts)
    for run_id in runs:
        ledger.finish(run_id, None, NOW)
    counts = [look(ledger, run_id).view.counts for run_id in runs]
    assert sum(found.unconfirmed for found in counts) == 15
    assert sum(found.skipped_replay for found in counts) == 15 * 19
