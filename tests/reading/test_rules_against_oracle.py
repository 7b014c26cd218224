from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.reading.stages import alerts_of, assess, found_and_expected
from tests.reading.worlds import (
    EACH_RULE,
    MONTH,
    Layout,
    Row,
    alert_types,
    back,
    layouts,
    row,
    rows_of_a_world,
    write,
)


@given(
    rows=rows_of_a_world,
    layout=layouts,
    threshold=st.sampled_from([0, 10_000, 10_001, 2**63 - 1]),
    types=alert_types,
)
@example(EACH_RULE, Layout(), 10_000, ["at_risk"])
@example(EACH_RULE, Layout(row_group_size=1), 10_000, ["at_risk"])
@example(EACH_RULE, Layout(hive=True), 10_000, ["at_risk", "recovered"])
@example(EACH_RULE, Layout(), 10_000, ["recovered"])
@example([row(None)], Layout(), 10_000, ["at_risk"])
@example([row("old", back(MONTH, 1))], Layout(), 10_000, ["at_risk"])
def test_every_layout_matches_the_oracle(
    rows: list[Row], layout: Layout, threshold: int, types: list[str]
) -> None:
    found, expected = found_and_expected(rows, layout, threshold, types)
    assert found == expected


@pytest.mark.parametrize("threshold", [10_000, 2**63 - 1])
def test_arr_equal_to_the_threshold_alerts(threshold: int) -> None:
    arrs = (None, threshold, threshold - 1)
    found, expected = found_and_expected(
        [row(f"a{number}", arr=arr) for number, arr in enumerate(arrs)], Layout(), threshold
    )
    assert found == expected


def test_example_of_the_spec_is_one_month() -> None:
    rows = [
        row(month=date(2025, 10, 1)),
        row(month=date(2025, 11, 1)),
        row(month=date(2025, 12, 1), status="Healthy"),
        row(month=date(2026, 1, 1)),
    ]
    found, _ = found_and_expected(rows, Layout())
    [alert] = found.alerts
    assert (alert["duration_months"], alert["risk_start_month"]) == (1, date(2026, 1, 1))


@pytest.mark.parametrize("accounts", [1, 40])
def test_streak_may_begin_in_the_first_calendar_month(tmp_path: Path, accounts: int) -> None:
    """With many accounts, more than one month is read at once."""
    months = (date(1, 2, 1), date(1, 1, 1))
    write([row(f"a{n}", month) for month in months for n in range(accounts)], tmp_path, Layout())
    found = {
        (alert.duration_months, alert.risk_start_month)
        for alert in alerts_of(assess(tmp_path, date(1, 2, 1)))
    }
    assert found == {(2, date(1, 1, 1))}
