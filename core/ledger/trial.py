"""Whether the ledger can be written, tried without leaving anything behind."""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy.engine import URL

from core.domain import LedgerError
from core.ledger import statements
from core.ledger.database import Database, engine_of, migrate, parse_url, translated_errors
from core.ledger.statements import HEALTH_CHECKS
from core.runtime import shown_database


def try_write(database_url: str, now: datetime) -> str:
    """Create or write the ledger and undo it; return what was found, or raise `LedgerError`.

    A database is migrated and written in one transaction that is rolled back. For a SQLite file that does not
    exist, one is made and removed in a folder beside its place.
    """
    url = parse_url(database_url)
    file = Path(url.database or "") if url.get_backend_name() == "sqlite" else None
    if file and not file.exists():
        _try_new_file(url, file.absolute())
        return "can be created"
    with translated_errors(url):
        engine = engine_of(url)
        try:
            with (
                engine.execution_options(immediate=True).connect() as connection,
                connection.begin() as undone,
            ):
                migrate(connection)
                statements.upsert(connection, HEALTH_CHECKS, {"id": 1, "checked_at": now})
                undone.rollback()
        finally:
            engine.dispose()
    return "can be written"


def _try_new_file(url: URL, file: Path) -> None:
    place = next(folder for folder in file.parents if folder.exists())
    try:
        beside = TemporaryDirectory(prefix=".risk-alerts-check-", dir=place)
    except OSError as error:
        raise LedgerError(
            f"The ledger {shown_database(url)} can't be created: {error.strerror} in {place}."
            " Change DATABASE_URL, or the folder's permissions"
        ) from None
    with beside as folder:
        Database(f"sqlite:///{folder}/ledger.db").close()
