"""Write sources and change their footers; call the reading stages as a run does, without Prefect."""

import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.alerts import Assessment, each_alert
from core.domain import Alert, Counts, total
from core.runtime import Settings
from core.sources import Source, Window
from core.sources.local import LocalSource
from core.sources.workers import DECODERS, Workers
from tasks.compute_streaks import compute_streaks
from tasks.dedupe import dedupe
from tasks.load_window import load_window
from tasks.route import route
from tests.reading.worlds import MONTH, Answer, Layout, Row, oracle, row, table, write


def put(path: Path, *rows: Row, without: str = "", **columns: pa.Array) -> Path:
    """Write these rows, by default one at risk; `columns` replaces some of the columns."""
    made = replaced(table(list(rows) or [row()]), **columns)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made.drop_columns(without) if without else made, path)
    return path


def replaced(made: pa.Table, **columns: pa.Array) -> pa.Table:
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


def answer(found: Assessment, not_first_days: range) -> Answer:
    """Return the result as an answer; `not_first_days` replaces a count that is in that range."""
    warnings = {warning.code: warning.count for warning in found.warnings}
    assert 0 not in warnings.values()
    count = warnings.get("months_not_first_day") or 0
    return Answer(
        alerts=[alert._asdict() for alert in alerts_of(found)],
        found=sum(getattr(counts_of(found), alert_type) for alert_type in found.counts_by_type),
        below_threshold=counts_of(found).below_threshold,
        duplicates=counts_of(found).duplicates_found,
        nameless=warnings.get("rows_without_account_id") or 0,
        month_missing="month_not_in_source" in warnings,
        not_first_days=not_first_days if count in not_first_days else range(count, count + 1),
    )


def found_and_expected(
    rows: list[Row], layout: Layout, threshold: int = 10_000, types: Sequence[str] = ("at_risk",)
) -> tuple[Answer, Answer]:
    """Return what the stages find in the rows, and the answer of the oracle."""
    with tempfile.TemporaryDirectory() as folder:
        order = write(rows, Path(folder), layout)
        expected = oracle(order, MONTH, threshold, types)
        found = assess(
            Path(folder), arr_threshold=threshold, source_timezone=layout.zone, alert_types=list(types)
        )
        return answer(found, expected.not_first_days), expected


def footer_of(path: Path) -> bytes:
    content = path.read_bytes()
    return content[-8 - int.from_bytes(content[-8:-4], "little") : -8]


def with_footer(path: Path, changed: bytes) -> None:
    """Replace the footer by one that differs."""
    footer = footer_of(path)
    assert changed != footer
    rest = path.read_bytes()[: -8 - len(footer)]
    path.write_bytes(rest + changed + len(changed).to_bytes(4, "little") + b"PAR1")


class CountedSource(LocalSource):
    """The real source, marked as remote, which records the ranges that are read of each file."""

    def __init__(self, source: Source) -> None:
        self.__dict__.update(source.__dict__)
        self.requests = 8
        self.asked: dict[str, list[tuple[int, int]]] = {}
        self.calls = 0

    def read(self, file, ranges):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
        self.calls += 1
        self.asked.setdefault(file.path, []).extend(ranges)
        return super().read(file, ranges)


def work_with(patch: pytest.MonkeyPatch, requests: int, decoders: int = DECODERS) -> None:
    """Make the reader work with so many threads that wait for requests, and so many that decode."""
    patch.setattr("core.sources.workers.DECODERS", decoders)
    patch.setattr("core.sources.reader.Workers", lambda _: Workers(requests))
