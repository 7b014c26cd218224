"""Insert rows, or change those that are there: one statement, whichever it is."""

from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Table
from sqlalchemy.dialects import postgresql, sqlite


def upsert(connection: Connection, table: Table, values: list[dict[str, Any]]) -> None:
    """Write rows, all with the same columns; one whose primary key is there takes the new values."""
    if values:
        connection.execute(_upsert_into(table, connection.dialect.name), values)


@cache
def _upsert_into(table: Table, dialect: str) -> Insert:
    statement: postgresql.Insert | sqlite.Insert = (
        postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)
    )
    changed = {column.name: statement.excluded[column.name] for column in table.c if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=table.primary_key, set_=changed)
