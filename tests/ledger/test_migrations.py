"""A ledger of an earlier version is brought up to date at its first use, and keeps what it knows."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from core.database import NEWEST_REVISION, VERSION_TABLE
from core.migrations.upgrade import MIGRATIONS
from tests.delivery.world import MONTH, begin, execute, look, open_at, query, routed


def migrate(path: Path, step: Callable[[Config, str], None], revision: str) -> None:
    """Bring a ledger to a version, as the service does it."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        step(config, revision)
    engine.dispose()


def tables(path: Path) -> set[str]:
    """Give the names of all tables."""
    return {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_ledger_from_before_support_was_remembered_keeps_its_outcomes_and_its_runs(path: Path) -> None:
    migrate(path, command.upgrade, "0001")
    assert "support_told" not in tables(path)
    execute(
        path,
        "INSERT INTO alert_outcomes (account_id, month, alert_type, status, attempts, run_id, updated_at)"
        " VALUES ('A-1', '2026-01-01', 'at_risk', 'sent', 1, 'old', '2026-01-02 00:00:00'),"
        " ('A-2', '2026-01-01', 'at_risk', 'failed', 0, 'old', '2026-01-02 00:00:00')",
    )
    with closing(open_at(path)) as ledger:
        assert query(path, f"SELECT version_num FROM {VERSION_TABLE}") == [("0003",)]  # noqa: S608
        assert ledger.told(MONTH, None) == {}
        alerts = [routed("A-1"), routed("A-2")]
        assert begin(ledger, "new", alerts) == alerts[1:]
        ledger.finish("new", None, ledger.history.run("new").started_at)
        assert look(ledger, "new").statuses == {"A-1": "skipped_replay", "A-2": "failed"}


def test_the_newest_version_is_the_one_that_is_asked_for_without_alembic() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == NEWEST_REVISION


def test_each_version_can_be_taken_back_and_brought_again(path: Path) -> None:
    open_at(path).close()
    whole = tables(path)
    migrate(path, command.downgrade, "0002")
    assert tables(path) == whole - {"settlements"}
    migrate(path, command.downgrade, "0001")
    assert tables(path) == whole - {"settlements", "support_told"}
    migrate(path, command.downgrade, "base")
    assert tables(path) == {VERSION_TABLE}
    open_at(path).close()
    assert tables(path) == whole
