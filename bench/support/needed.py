"""Compute the fewest bytes that the answer needs, from DuckDB's answer and the footers."""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from bench.peers import duckdb_sql
from bench.support.answer import MONTH, Question, Row
from core.domain import months_before

KEYS = {"account_id", "month", "status"}


@dataclass(frozen=True)
class Needed:
    """Compressed column chunks, the row groups that they are in, and the files."""

    bytes: int
    row_groups: int
    files: int
    footer_bytes: int


def needed(path: Path, threshold: int) -> Needed:
    """Return the column chunks that the answer needs.

    These are all columns of the month's row groups; account, month and status of earlier row groups, back to
    the month that ends the longest streak; and `updated_at` where rows of an alert's account and month
    disagree.
    """
    question = Question(str(path), MONTH, threshold)
    alerts = duckdb_sql.answer(question).alerts
    longest = max(row[1] for row in alerts)
    torn = _rows_that_disagree(question, alerts, longest)
    total = groups = footers = 0
    for file in question.files:
        meta = pq.read_metadata(file)
        footers += meta.serialized_size + 8
        first = 0
        for number in range(meta.num_row_groups):
            group = meta.row_group(number)
            chunks = {chunk.path_in_schema: chunk for chunk in map(group.column, range(meta.num_columns))}
            months = chunks["month"].statistics
            columns = set(KEYS) if months.max >= months_before(MONTH, longest) else set()
            if any(first <= row < first + group.num_rows for row in torn.get(file, ())):
                columns |= {"updated_at"}
            if months.max == MONTH:
                columns = set(chunks)
            total += sum(chunks[name].total_compressed_size for name in columns)
            groups += bool(columns)
            first += group.num_rows
    return Needed(total, groups, len(question.files), footers)


def _rows_that_disagree(question: Question, alerts: list[Row], longest: int) -> dict[str, list[int]]:
    con = duckdb.connect()
    con.execute("CREATE TEMP TABLE alerts (account_id VARCHAR, duration INT)")
    con.executemany("INSERT INTO alerts VALUES (?, ?)", [row[:2] for row in alerts])
    found = con.execute(f"""
        SELECT filename, file_row_number FROM (
            SELECT filename, file_row_number, count(DISTINCT status = 'At Risk') OVER of_month AS kinds
            FROM read_parquet({question.files}, filename = true, file_row_number = true)
            JOIN alerts USING (account_id)
            WHERE month < DATE '{MONTH}' AND month >= DATE '{months_before(MONTH, longest)}'
              AND datediff('month', month, DATE '{MONTH}') <= duration
            WINDOW of_month AS (PARTITION BY account_id, month))
        WHERE kinds > 1""").fetchall()
    con.close()
    rows: dict[str, list[int]] = {}
    for file, row in found:
        rows.setdefault(file, []).append(row)
    return rows
