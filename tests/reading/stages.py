"""Write a source, and call the reading stages as a run does, without Prefect."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.alerts import Assessment, each_alert
from core.domain import Alert, Counts, total
from core.runtime import Settings
from core.sources import Window
from tasks.compute_streaks import compute_streaks
from tasks.dedupe import dedupe
from tasks.load_window import load_window
from tasks.route import route
from tests.reading.worlds import MONTH, Row, row, table


def put(path: Path, *rows: Row, without: str = "", **columns: pa.Array) -> Path:
    """Write these rows, by default one at risk; `columns` replaces some of the columns."""
    made = replaced(table(list(rows) or [row()]), **columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made.drop_columns(without) if without else made, path)
    return path


def replaced(made: pa.Table, **columns: pa.Array) -> pa.Table:
    """Replace columns of the table."""
    for name, column in columns.items():
        made = made.set_column(made.column_names.index(name), name, column)
    return made


def read(source: Path | str, month: date = MONTH, **settings: Any) -> Window:
    return load_window.fn(source if isinstance(source, str) else source.as_uri(), month, Settings(**settings))


def assess(source: Path | str, month: date = MONTH, **settings: Any) -> Assessment:
    window = read(source, month, **settings)
    return compute_streaks.fn(window, dedupe.fn(window.rows), Settings(**settings))


def alerts_of(assessment: Assessment) -> list[Alert]:
    return list(each_alert(route.fn(assessment.alerts, Settings())))


def counts_of(assessment: Assessment) -> Counts:
    return total(assessment.counts_by_type.values())
