"""The versions of the schema."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from core.ledger import Ledger
from core.ledger.database import NEWEST_REVISION
from core.ledger.migrations import MIGRATIONS
from core.ledger.schema import VERSION
from tests.delivery.world import open_at, query


def tables(path: Path) -> set[str]:
    """Return the names of all tables."""
    return {name for (name,) in query(path, "SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_newest_revision_is_the_head() -> None:
    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == NEWEST_REVISION


def test_first_version_can_be_downgraded(path: Path, ledger: Ledger) -> None:
    whole = tables(path)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with ledger._database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert tables(path) == {VERSION.name}
    open_at(path).close()
    assert tables(path) == whole
