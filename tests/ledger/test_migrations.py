"""The versions of the schema."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from core.ledger.database import NEWEST_REVISION
from core.ledger.migrations import MIGRATIONS
from core.ledger.schema import VERSION
from tests.delivery.world import open_at, query


def migrate(path: Path, step: Callable[[Config, str], None], revision: str) -> None:
    """Migrate a ledger to a version, as the service does."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection, connection.begin():
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        step(config, revision)
    engine.dispose()


def tables(path: Path) -> set[str]:
    """Return the names of all tables."""
    return {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_newest_revision_is_the_head() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == NEWEST_REVISION


def test_first_version_can_be_downgraded(path: Path) -> None:
    open_at(path).close()
    whole = tables(path)
    migrate(path, command.downgrade, "base")
    assert tables(path) == {VERSION.name}
    open_at(path).close()
    assert tables(path) == whole
