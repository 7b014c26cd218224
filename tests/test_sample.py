"""The sample source has every trap, and is the same each time."""

from datetime import date
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from core.domain import Alert
from examples.make_sample import ROW_GROUP_ROWS, TRAPS, Trap, write_sample
from tests.reading.stages import alerts_of, assess
from tests.service import SCHEMA

REGIONS = {"AMER", "EMEA", "APAC"}
MONTH = date(2026, 1, 1)
THRESHOLD = 10_000
BY_ID = [trap for trap in TRAPS if trap.account_id is not None]


@pytest.fixture(scope="module")
def at_risk(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Alert]:
    """Return the accounts at risk in the last month, whatever their ARR."""
    path = tmp_path_factory.mktemp("sample") / "sample.parquet"
    write_sample(path)
    return {alert.account_id: alert for alert in alerts_of(assess(path, MONTH, arr_threshold=0))}


@pytest.fixture(scope="module")
def alerts(at_risk: dict[str, Alert]) -> list[Alert]:
    return [alert for alert in at_risk.values() if alert.arr is None or alert.arr >= THRESHOLD]


@pytest.mark.parametrize("trap", BY_ID, ids=lambda trap: trap.why)
def test_each_trap_has_its_months_at_risk(trap: Trap, at_risk: dict[str, Alert]) -> None:
    found = at_risk.get(trap.account_id or "")
    assert (found and found.duration_months) == trap.months


def test_report_of_the_last_month_fits_a_screen(alerts: list[Alert]) -> None:
    assert 20 <= len(alerts) <= 40
    unknown = [alert.account_region for alert in alerts if alert.account_region not in REGIONS]
    assert {None, "", "LATAM", "amer"} == set(unknown)
    assert len(unknown) <= 6
    assert {alert.account_region for alert in alerts} >= REGIONS


def test_file_is_in_month_order_in_small_row_groups(tmp_path: Path) -> None:
    """Exports of many months have this layout."""
    path = tmp_path / "new" / "sample.parquet"
    write_sample(path)
    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
        table = file.read()
    assert len(groups) > 3
    assert all(group.num_rows <= ROW_GROUP_ROWS for group in groups)
    assert {group.column(0).compression for group in groups} == {"ZSTD"}
    months = table["month"].to_pylist()
    assert months == sorted(months)
    assert (months[0], months[-1]) == (date(2024, 2, 1), date(2026, 1, 1))
    assert table.schema.equals(SCHEMA)


def test_sample_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_sample(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
