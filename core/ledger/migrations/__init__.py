"""Upgrades of a ledger from an older schema version, run by Alembic in the caller's transaction."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent


def upgrade(connection: Connection) -> None:
    """Upgrade the schema to the newest version; raise `CommandError` when this project does not know it."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
