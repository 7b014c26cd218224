"""Streaks and duplicates of a window that has more rows than needed, and rows with equal times."""

from datetime import date

import pyarrow as pa

from core.alerts import Assessment
from core.domain import months_before
from core.runtime import Settings
from core.sources import Window
from core.sources.window import DETAILS, ROWS
from tasks.compute_streaks import compute_streaks
from tasks.dedupe import dedupe
from tests.reading.stages import counts_of

MONTH = date(2026, 1, 1)


def found(*rows: tuple[int, int, bool]) -> Assessment:
    """Assess the accounts 0 and 1; a row is (account, months back, at risk)."""
    table = [
        {
            "account": account,
            "month": months_before(MONTH, back),
            "at_risk": at_risk,
            "arr": 50_000,
            "position": position,
        }
        for position, (account, back, at_risk) in enumerate(rows)
    ]
    window = Window(
        month=MONTH,
        accounts=pa.array(["b", "a"], pa.large_string()),
        rows=pa.Table.from_pylist(table, schema=ROWS),
        details=pa.Table.from_pylist([{"position": one["position"]} for one in table], schema=DETAILS),
        source_version="version-1",
        rows_scanned=len(rows) + 100,
        other_rows=100,
        other_duplicates=10,
        rows_without_account_id=0,
        months_not_first_day=0,
    )
    return compute_streaks.fn(window, dedupe.fn(window.rows), Settings(arr_threshold=0))


def test_duplicates_count_back_to_the_month_that_ended_the_streak() -> None:
    twice = [(0, back, back < 2) for back in range(5) for _ in range(2)]
    counts = counts_of(found(*twice, (1, 0, False), (1, 1, True), (1, 1, True)))
    assert counts.duplicates_found == 3 + 10
    assert counts.rows_scanned == len(twice) + 3 + 100


def test_streak_begins_after_the_gap() -> None:
    assert found((0, 0, True), (0, 2, True)).alerts["duration_months"].to_pylist() == [1]


def test_later_row_of_the_source_wins_a_tie() -> None:
    """Also when the rows come in another order."""
    rows = [
        {"account": account, "month": MONTH, "updated_at": time, "position": position}
        for account, position, time in ((0, 3, 1), (0, 2, 1), (0, 4, None), (1, 1, None), (1, 0, None))
    ]
    winners = dedupe.fn(pa.Table.from_pylist(rows, schema=ROWS))
    assert sorted(winners["position"].to_pylist()) == [1, 3]
