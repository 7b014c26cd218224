"""Valid Parquet files whose shape no real data has."""

from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.domain import SourceInvalid
from core.runtime import Settings
from core.slack import build_message
from core.sources.parquet import columns
from core.sources.parquet.footer import RowGroup
from core.sources.window import LONGEST_ID, LONGEST_TEXT
from tests.reading.stages import alerts_of, assess, counts_of, replaced
from tests.reading.worlds import MONTH, back, row, table
from tests.warm import Forked

MEGABYTE = 2**20
MEMORY = 256 * MEGABYTE
"""Memory that Arrow may hold in addition to a few copies of the stored texts, in bytes."""


def at_risk(rows: int, **columns: Any) -> pa.Table:
    """Return a table of accounts at risk; `columns` replaces some of its columns."""
    made = table([row("a", MONTH, "At Risk")]).take(pa.array([0] * rows))
    ids = pa.array([f"a{number:07d}" for number in range(rows)])
    return replaced(made, **{"account_id": ids} | columns)


def repeated(value: str, rows: int) -> pa.Array:
    """Return a dictionary column of one repeated value."""
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int8()), rows), pa.array([value]))


LARGE = {
    "each its own": (at_risk(500, account_name=repeated("N" * MEGABYTE, 500)), False),
    # The footer shows only a few bytes per row.
    "one in a dictionary": (at_risk(600, account_name=repeated("N" * MEGABYTE, 600)), True),
}


def read_and_measure(path: Path, report: Path) -> None:
    """Read the source in a process of its own; report its rows and the most memory that Arrow held."""
    rows = counts_of(assess(path)).rows_scanned
    report.write_text(f"{rows} {pa.default_memory_pool().max_memory()}")


@pytest.mark.parametrize("name", LARGE)
def test_huge_names_are_read_in_bounded_memory(tmp_path: Path, name: str) -> None:
    made, dictionary = LARGE[name]
    path = tmp_path / "x.parquet"
    pq.write_table(
        made,
        path,
        compression="zstd",
        use_dictionary=dictionary,
        dictionary_pagesize_limit=2 * MEGABYTE,
        write_batch_size=16,  # the decoder needs whole pages, which have this size
        write_statistics=False,
    )
    assert path.stat().st_size < MEGABYTE
    report = tmp_path / "report"
    assert Forked(read_and_measure, path, report).wait() == 0
    rows, memory = map(int, report.read_text().split())
    assert rows == made.num_rows
    assert memory < MEMORY + 4 * rows * LONGEST_TEXT


def test_huge_name_is_cut_to_slacks_limit(tmp_path: Path) -> None:
    names = pa.array(["é" * MEGABYTE, "é" * LONGEST_TEXT, "é"])
    pq.write_table(at_risk(3, account_name=names), tmp_path / "x.parquet")
    alerts = alerts_of(assess(tmp_path / "x.parquet"))
    cut = "é" * (LONGEST_TEXT - 1) + "…"
    assert [one.account_name for one in alerts] == [cut, "é" * LONGEST_TEXT, "é"]
    message = build_message(alerts[0], MONTH, Settings())
    assert len(message["text"]) <= LONGEST_TEXT


@pytest.mark.parametrize("age", [0, 1])
def test_too_long_id_is_refused(tmp_path: Path, age: int) -> None:
    for length in (LONGEST_ID, LONGEST_ID + 1):
        ids = ("a" * length, "c")
        made = table([*(row(one, back(MONTH, age)) for one in ids), row("b", status="Healthy")])
        pq.write_table(made, tmp_path / f"{length}.parquet")
    types = ["at_risk", "recovered"]
    assess(tmp_path / f"{LONGEST_ID}.parquet", alert_types=types)
    with pytest.raises(SourceInvalid, match="column account_id exceeds 2,500 bytes"):
        assess(tmp_path / f"{LONGEST_ID + 1}.parquet", alert_types=types)


@pytest.mark.parametrize("dictionary", [True, False])
def test_row_of_megabytes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, dictionary: bool
) -> None:
    monkeypatch.setattr("core.sources.parquet.footer.MAX_ROW_BYTES", MEGABYTE)
    made = at_risk(20, account_name=repeated("N" * 2 * MEGABYTE, 20))
    # The last column of the file: fewer bytes follow than a page header may have.
    made = made.select([*(name for name in made.column_names if name != "account_name"), "account_name"])
    pq.write_table(
        made,
        tmp_path / "x.parquet",
        compression="brotli",
        use_dictionary=dictionary,
        dictionary_pagesize_limit=3 * MEGABYTE,
        write_statistics=False,
    )
    with pytest.raises(SourceInvalid, match=r"its rows have 2,097,[0-9]+ bytes each, more than"):
        assess(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    "written",
    [
        {"dictionary_pagesize_limit": 4 * MEGABYTE},
        # With statistics, the header of such a page is longer than that of any dictionary.
        {"use_dictionary": False, "data_page_version": "1.0"},
        {"use_dictionary": False, "data_page_version": "2.0"},
    ],
)
def test_many_small_values_are_no_large_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: dict[str, Any]
) -> None:
    monkeypatch.setattr("core.sources.parquet.footer.MAX_ROW_BYTES", MEGABYTE)
    monkeypatch.setattr("core.sources.parquet.footer.DICTIONARY_READ_BYTES", MEGABYTE)
    names = pa.array([f"{number:06d}" + "N" * 1000 for number in range(3_000)])
    pq.write_table(at_risk(3_000, account_name=names), tmp_path / "x.parquet", **written)
    assert assess(tmp_path / "x.parquet").alerts.num_rows == 3_000


@pytest.mark.parametrize("written", [{}, {"write_statistics": False}])
def test_too_many_rows_of_a_month_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: dict[str, Any]
) -> None:
    kinds = ((MONTH, "At Risk"), (MONTH, "Healthy"), (back(MONTH, 1), "Healthy"))
    rows = [row(f"{kind}{number}", *kind) for kind in kinds for number in range(10)]
    pq.write_table(table(rows), tmp_path / "x.parquet", row_group_size=8, **written)
    monkeypatch.setattr("core.sources.parquet.row_groups.MAX_ROWS", 20)
    assert assess(tmp_path / "x.parquet").alerts.num_rows == 10
    monkeypatch.setattr("core.sources.parquet.row_groups.MAX_ROWS", 19)
    with pytest.raises(SourceInvalid, match="more than 19 rows of 2026-01-01"):
        assess(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("age", "alert_type", "group_rows", "found", "batches"),
    [
        (0, "at_risk", 2_000, "2026-01-01", 6),
        (1, "at_risk", 2_000, "at-risk accounts before 2026-01-01 in one row group", 20 + 6),
        (1, "at_risk", 400, "2025-12-01", 20 + 20),
        (1, "recovered", 2_000, "2025-12-01", 6),
    ],
)
def test_too_many_rows_of_an_account_end_the_decoding(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    age: int,
    alert_type: str,
    group_rows: int,
    found: str,
    batches: int,
) -> None:
    rows = [row("a", MONTH, "At Risk"), *[row("a", back(MONTH, age), "At Risk")] * 1_999]
    pq.write_table(table(rows), tmp_path / "x.parquet", row_group_size=group_rows, write_statistics=False)
    monkeypatch.setattr("core.sources.parquet.row_groups.MAX_ROWS", 500)
    monkeypatch.setattr(RowGroup, "rows_at_once", lambda *_: 100)
    decoded = Mock(wraps=columns.is_at_risk)
    monkeypatch.setattr(columns, "is_at_risk", decoded)
    with pytest.raises(SourceInvalid, match=f"more than 500 rows of {found}"):
        assess(tmp_path / "x.parquet", alert_types=[alert_type])
    assert decoded.call_count == batches


@pytest.mark.parametrize("month", [date(1, 1, 1), date(9999, 12, 1)])
def test_first_and_last_calendar_month_are_read(tmp_path: Path, month: date) -> None:
    rows = [row("a", date(1, 1, 1), "At Risk"), row("a", date(9999, 12, 1), "At Risk")]
    pq.write_table(table(rows), tmp_path / "x.parquet")
    [alert] = alerts_of(assess(tmp_path / "x.parquet", month, alert_types=["at_risk", "recovered"]))
    assert (alert.risk_start_month, alert.duration_months) == (month, 1)


@pytest.mark.parametrize("dictionary", [True, False])
def test_months_outside_the_calendar_are_ignored(tmp_path: Path, *, dictionary: bool) -> None:
    months = pa.array([(MONTH - date(1970, 1, 1)).days, -(2**31), 2**31 - 1], pa.int32()).cast(pa.date32())
    made = at_risk(3, account_id=repeated("a", 3), month=months)
    pq.write_table(made, tmp_path / "x.parquet", use_dictionary=dictionary)
    [alert] = alerts_of(assess(tmp_path / "x.parquet", alert_types=["at_risk", "recovered"]))
    assert alert.duration_months == 1


def test_renewal_dates_outside_the_calendar_are_unknown(tmp_path: Path) -> None:
    first, last = ((day - date(1970, 1, 1)).days for day in (date.min, date.max))
    days = pa.array([first - 1, first, last, last + 1], pa.int32()).cast(pa.date32())
    pq.write_table(at_risk(4, renewal_date=days), tmp_path / "x.parquet")
    found = [alert.renewal_date for alert in alerts_of(assess(tmp_path / "x.parquet"))]
    assert found == [None, date.min, date.max, None]
