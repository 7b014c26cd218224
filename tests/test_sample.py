"""The sample source has every trap, and is the same each time."""

from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from examples.make_sample import (
    DEFAULT_LAST_MONTH,
    ROW_GROUP_ROWS,
    TRAPS,
    WHOLE_HISTORY,
    Trap,
    sample_table,
    write_sample,
)
from tests.service import SCHEMA

REGIONS = {"AMER", "EMEA", "APAC"}
THRESHOLD = 10_000
BY_ID = [trap for trap in TRAPS if trap.account_id is not None]

Row = dict[str, Any]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return sample_table().to_pylist()


@pytest.fixture(scope="module")
def winners(rows: list[Row]) -> dict[tuple[str, date], Row]:
    """Return the winning row of each account and month, computed in a slow and simple way."""
    best: dict[tuple[str, date], Row] = {}
    for row in rows:
        if row["account_id"] is None:
            continue
        key = (row["account_id"], row["month"])
        if key not in best or _rank(row) >= _rank(best[key]):
            best[key] = row
    return best


def _rank(row: Row) -> tuple[bool, float]:
    updated_at: datetime | None = row["updated_at"]
    return (updated_at is not None, updated_at.timestamp() if updated_at else 0.0)


def _order(row: Row, other: Row) -> int:
    return (_rank(row) > _rank(other)) - (_rank(row) < _rank(other))


def _months_at_risk(winners: dict[tuple[str, date], Row], account_id: str, month: date) -> int:
    months = 0
    while (account_id, month) in winners and winners[account_id, month]["status"] == "At Risk":
        months += 1
        year_end = month.month == 1
        month = month.replace(month.year - year_end, 12 if year_end else month.month - 1)
    return months


def _alerts(winners: dict[tuple[str, date], Row]) -> list[Row]:
    return [
        row
        for (_, month), row in winners.items()
        if month == DEFAULT_LAST_MONTH
        and row["status"] == "At Risk"
        and (row["arr"] is None or row["arr"] >= THRESHOLD)
    ]


@pytest.mark.parametrize("trap", BY_ID, ids=lambda trap: trap.why)
def test_each_trap_has_its_months_at_risk(
    trap: Trap, winners: dict[tuple[str, date], Row], rows: list[Row]
) -> None:
    assert trap.account_id is not None
    expected = trap.months or 0
    if expected == WHOLE_HISTORY:
        expected = len({row["month"] for row in rows})
    assert _months_at_risk(winners, trap.account_id, DEFAULT_LAST_MONTH) == expected


def test_duplicates_flip_the_status_both_ways(rows: list[Row], winners: dict[tuple[str, date], Row]) -> None:
    flips = {
        (row["status"] == "At Risk", winner["status"] == "At Risk", row["month"] == DEFAULT_LAST_MONTH)
        for row in rows
        if row["account_id"] is not None
        for winner in [winners[row["account_id"], row["month"]]]
        if _rank(row) < _rank(winner)
    }
    for now in (True, False):
        assert {(True, False, now), (False, True, now)} <= flips


def test_later_rows_are_before_and_after_earlier_ones(rows: list[Row]) -> None:
    previous: dict[tuple[str, date], Row] = {}
    orders = set()
    for row in rows:
        key = (row["account_id"], row["month"])
        if key in previous and row["updated_at"] and previous[key]["updated_at"]:
            orders.add(_order(row, previous[key]))
        previous[key] = row
    assert orders == {-1, 0, 1}


def test_null_updated_at_is_alone_and_in_a_tie(rows: list[Row]) -> None:
    keys = [(row["account_id"], row["month"]) for row in rows]
    undated = [(row["account_id"], row["month"]) for row in rows if row["updated_at"] is None]
    assert {keys.count(key) for key in undated} == {1, 2}


def test_example_of_the_specification_is_included(winners: dict[tuple[str, date], Row]) -> None:
    months = (date(2025, 10, 1), date(2025, 11, 1), date(2025, 12, 1), date(2026, 1, 1))
    statuses = [winners["ACC-90001", month]["status"] for month in months]
    assert statuses == ["At Risk", "At Risk", "Healthy", "At Risk"]


def test_report_of_the_last_month_fits_a_screen(winners: dict[tuple[str, date], Row]) -> None:
    alerts = _alerts(winners)
    assert 20 <= len(alerts) <= 40
    unknown = [row["account_region"] for row in alerts if row["account_region"] not in REGIONS]
    assert {None, "", "LATAM", "amer"} == set(unknown)
    assert len(unknown) <= 6
    assert {row["account_region"] for row in alerts} >= REGIONS


def test_alerts_have_the_edge_values_of_each_column(winners: dict[tuple[str, date], Row]) -> None:
    alerts = _alerts(winners)
    for column in ("arr", "renewal_date", "account_owner", "account_region"):
        assert None in [row[column] for row in alerts], column
    assert THRESHOLD in [row["arr"] for row in alerts]
    below = winners["ACC-90026", DEFAULT_LAST_MONTH]
    assert (below["status"], below["arr"]) == ("At Risk", THRESHOLD - 1)


def test_alerts_have_names_and_ids_to_escape(winners: dict[tuple[str, date], Row]) -> None:
    alerts = _alerts(winners)
    names = "".join(row["account_name"] for row in alerts)
    for text in ("&", "<", ">", "<!channel>", "\n", "🦊", "*", "`"):
        assert text in names
    assert any({"/", "?", "&", "#", "%", " "} <= set(row["account_id"]) for row in alerts)


def test_months_and_histories_have_rows_that_do_not_count(rows: list[Row]) -> None:
    """Their status is in the wrong case, or they have no `account_id`."""
    months = {row["month"] == DEFAULT_LAST_MONTH for row in rows if row["status"] == "at risk"}
    assert months == {True, False}
    assert {"At Risk", "Healthy"} <= {row["status"] for row in rows if row["account_id"] is None}


def test_each_trap_has_its_own_account_id(rows: list[Row]) -> None:
    names: dict[str, set[str]] = {}
    for row in rows:
        if row["account_id"] is not None:
            names.setdefault(row["account_id"], set()).add(row["account_name"])
    assert all(len(found) == 1 for found in names.values())
    assert {trap.account_id for trap in BY_ID} <= set(names)


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


def test_seed_decides_the_bytes(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        write_sample(tmp_path / name, seed=seed)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()


def test_arguments_decide_months_and_accounts() -> None:
    table = sample_table(months=14, accounts=60, last_month=date(2025, 6, 1))
    months = table.column("month").to_pylist()
    assert (min(months), max(months)) == (date(2024, 5, 1), date(2025, 6, 1))
    # Two of the sixty have no account_id.
    assert len(set(table.column("account_id").to_pylist()) - {None}) == 58


@pytest.mark.parametrize(
    "arguments", [{"months": 13}, {"accounts": 3}, {"accounts": 10_000}, {"last_month": date(2026, 1, 2)}]
)
def test_arguments_too_small_for_the_traps_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"account|month"):
        sample_table(**arguments)
