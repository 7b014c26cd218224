"""The alert type `recovered`, on sources of a few rows."""

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from tests.reading.stages import alerts_of, assess, counts_of, read
from tests.reading.worlds import MONTH, Layout, Row, back, row, write

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
BEFORE = back(MONTH, 1)


def find(rows: list[Row], folder: Path) -> list[tuple[str, str, int, date]]:
    write(rows, folder, Layout())
    found = alerts_of(assess(folder, alert_types=["at_risk", "recovered"]))
    return [(one.account_id, one.alert_type, one.duration_months, one.risk_start_month) for one in found]


def test_streak_ends_at_the_month_before(tmp_path: Path) -> None:
    rows = [row(month=back(MONTH, age)) for age in (1, 2, 4)]
    assert find([row(status="Healthy"), *rows], tmp_path) == [("a1", "recovered", 2, back(MONTH, 2))]


@pytest.mark.parametrize(
    "rows",
    [
        [row(month=BEFORE)],
        [row(status="Healthy"), row(month=back(MONTH, 2))],
        [
            row(status="Healthy"),
            row(month=BEFORE, updated_at=EARLY),
            row("a1", BEFORE, "Healthy", updated_at=LATE),
        ],
    ],
    ids=["no row in the month", "a gap before the month", "the month before was corrected"],
)
def test_account_has_not_recovered(rows: list[Row], tmp_path: Path) -> None:
    assert find(rows, tmp_path) == []


def test_details_and_threshold_come_from_the_month(tmp_path: Path) -> None:
    write(
        [
            row("small", BEFORE, arr=50_000),
            row("small", status="Healthy", arr=1),
            row("large", BEFORE, arr=1, account_name="Old"),
            row("large", status="Healthy", arr=50_000, account_name="New"),
        ],
        tmp_path,
        Layout(),
    )
    found = assess(tmp_path, alert_types=["recovered"])
    assert (counts_of(found).recovered, counts_of(found).below_threshold) == (2, 1)
    [alert] = alerts_of(found)
    assert (alert.account_name, alert.arr) == ("New", 50_000)


@pytest.mark.parametrize(("alert_type", "months"), [("at_risk", 1), ("recovered", 2)])
def test_small_account_is_followed_no_further_than_needed(
    alert_type: str, months: int, tmp_path: Path
) -> None:
    write([row(month=back(MONTH, age), arr=1) for age in range(4)], tmp_path, Layout(hive=True))
    assert read(tmp_path, alert_types=[alert_type]).rows_scanned == months


def test_rows_of_the_month_before_are_scanned(tmp_path: Path) -> None:
    """It is read to find the accounts, even if none of them is followed."""
    write([row(month=BEFORE), row("a2", status="Healthy")], tmp_path, Layout(hive=True))
    assert read(tmp_path, alert_types=["recovered"]).rows_scanned == 2


def test_stages_log_what_they_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    small = [row("small", BEFORE), row("small", status="Healthy", arr=1)]
    large = [row("large", BEFORE), row("large", status="Healthy")]
    with caplog.at_level("INFO"):
        find([row()] * 4 + small + large, tmp_path)
    assert caplog.messages[-4:] == [
        "5 winning rows of the 8 rows kept",
        "at_risk: 1 accounts, 0 below the threshold",
        "recovered: 2 accounts, 1 below the threshold",
        "2 alerts for 0 channels, 2 without a channel",
    ]
