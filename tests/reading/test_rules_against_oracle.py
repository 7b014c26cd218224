import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.alerts import Assessment
from tests.reading.stages import alerts_of, assess, counts_of
from tests.reading.worlds import (
    EPOCH,
    MONTH,
    Answer,
    Layout,
    Row,
    back,
    layouts,
    oracle,
    row,
    rows_of_a_world,
    write,
)

alert_types = st.sampled_from([["at_risk"], ["at_risk", "recovered"], ["recovered"]])

EACH_RULE = [
    *(row("streak", back(MONTH, age)) for age in range(3)),
    *(row("streak", back(MONTH, 3), "Healthy") for _ in range(2)),
    *(row("other", status="Healthy") for _ in range(3)),
    *(row("twice", arr=arr) for arr in (1, None)),
    *(row("untimed", status=status, updated_at=at) for status, at in (("Healthy", EPOCH), ("At Risk", None))),
    *(row("tied", status=status) for status in ("At Risk", "Healthy")),
    *(row("edge", arr=arr) for arr in (9_999, 10_000)),
    *(row("well again", back(MONTH, age)) for age in (1, 1, 2)),
    row("well again", status="Healthy"),
    row("well but small", back(MONTH, 1)),
    row("well but small", status="Healthy", arr=9_999),
    row("gone", back(MONTH, 1)),
    row("below", arr=9_999),
    *(row(f"status {status}", status=status) for status in ("at risk", "AT RISK", "At Risk ", None)),
    row("nameless", account_name=None, account_region=None, renewal_date=None, account_owner=None),
    *(row(f"named {name!r}", account_name=name) for name in ("", "N")),
    row("nul \ufffd", account_name="N\0", account_region="\0", account_owner="\0O"),
    row("nul \0", back(MONTH, 1)),
    row(None),
    row(""),
]
"""Rows for which each rule matters."""


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


def ask(
    rows: list[Row], layout: Layout, threshold: int = 10_000, types: Sequence[str] = ("at_risk",)
) -> tuple[Answer, Answer]:
    with tempfile.TemporaryDirectory() as folder:
        order = write(rows, Path(folder), layout)
        expected = oracle(order, MONTH, threshold, types)
        found = assess(
            Path(folder), arr_threshold=threshold, source_timezone=layout.zone, alert_types=list(types)
        )
        return answer(found, expected.not_first_days), expected


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
    found, expected = ask(rows, layout, threshold, types)
    assert found == expected


@pytest.mark.parametrize("threshold", [10_000, 2**63 - 1])
def test_arr_equal_to_the_threshold_alerts(threshold: int) -> None:
    arrs = (None, threshold, threshold - 1)
    found, expected = ask(
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
    found, _ = ask(rows, Layout())
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
