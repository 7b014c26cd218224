"""Several alert types on one account of a month, by the preview of a small source."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from core.alerts import RULES, PreviewView
from core.domain import RunRequest, parse_month
from core.runtime import Settings
from flows.preview import preview
from tests.alerts.of_the_tests import OURS, register
from tests.service import MONTH, row, write_source

BEFORE = "2025-12-01"
HALF_A_YEAR = [*(f"2025-{month:02}-01" for month in range(8, 12)), BEFORE, MONTH]
TYPES = ["at_risk", "recovered", OURS.type]
HEALTHY = row("A", status="Healthy")

CASES: dict[str, tuple[list[dict[str, Any]], list[tuple[str, int]], dict[str, int]]] = {
    "the duplicates of an account count once": (
        [row("A", BEFORE), row("A", BEFORE), row("A")],
        [("at_risk", 2), (OURS.type, 1)],
        {"at_risk": 1, OURS.type: 1, "would_send": 2, "duplicates_found": 1},
    ),
    "alerts are in order of their types": (
        [row("A", BEFORE), HEALTHY],
        [(OURS.type, 1), ("recovered", 1)],
        {"recovered": 1, OURS.type: 1, "would_send": 2},
    ),
    "below the threshold": (
        [row("A", BEFORE), HEALTHY | {"arr": 1}],
        [],
        {"recovered": 1, OURS.type: 1, "below_threshold": 2},
    ),
    "without a channel": (
        [row("A", BEFORE), row("A", account_region="LATAM")],
        [("at_risk", 2), (OURS.type, 1)],
        {"at_risk": 1, OURS.type: 1, "failed_deliveries": 2, "unknown_region": 2},
    ),
}
"""Rows of an account, the type and months of each of its alerts, and the counts of alerts and duplicates."""


def preview_of(folder: Path, rows: list[dict[str, Any]], *types: str, limit: int = 0) -> PreviewView:
    settings = Settings(
        alert_types=types or ["at_risk"],
        regions={"AMER": "amer"},
        database_url=f"sqlite:///{folder}/ledger.db",
        max_alerts_per_run=limit,
    )
    return preview(RunRequest(write_source(folder / "x.parquet", rows), parse_month(MONTH)), settings)


@pytest.mark.parametrize(("rows", "alerts", "counts"), CASES.values(), ids=CASES)
def test_types_find_their_own_alerts_on_one_account(
    rows: list[dict[str, Any]],
    alerts: list[tuple[str, int]],
    counts: dict[str, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    register(monkeypatch)
    found = preview_of(tmp_path, rows, *TYPES)
    assert [(alert.alert_type, alert.duration_months) for alert in found.alerts] == alerts
    nonzero = {name: number for name, number in found.counts.model_dump().items() if number}
    assert nonzero.pop("rows_scanned") == len(rows)
    assert nonzero == counts
    assert sorted(found.counts_by_type) == sorted(TYPES)


@pytest.mark.parametrize("name", RULES)
def test_rule_finds_the_same_when_more_is_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With too small a `look_back`, or the wrong `anchor`, a rule does not see every month that it needs."""
    rows = [
        row(f"{statuses} {arr}", month, status, arr=arr)
        for arr in (1, 50_000)
        for statuses in product(["At Risk", "Healthy"], repeat=6)
        for month, status in zip(HALF_A_YEAR, statuses, strict=True)
    ]
    alone = preview_of(tmp_path, rows, name)
    assert 0 < len(alone.alerts) == alone.counts.below_threshold
    register(monkeypatch)
    together = preview_of(tmp_path, rows, name, OURS.type)
    assert alone.alerts == [alert for alert in together.alerts if alert.alert_type == name]
    first, second = (found.counts_by_type[name].model_dump() for found in (alone, together))
    assert first | {OURS.type: 0} == second


@pytest.mark.parametrize(("limit", "warnings"), [(0, []), (1, [("too_many_alerts", 2)]), (2, [])])
def test_preview_warns_of_more_alerts_than_the_limit(
    limit: int, warnings: list[tuple[str, int]], tmp_path: Path
) -> None:
    found = preview_of(tmp_path, [row("A"), row("B"), row("C", account_region="LATAM")], limit=limit)
    assert [(warning.code, warning.count) for warning in found.warnings] == warnings


def test_each_warning_says_what_it_is_about(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [row(""), row(""), *(row("A", f"2026-01-{day}") for day in (15, 16, 17))]
    without_id, no_first_day = preview_of(tmp_path, rows).warnings
    assert (without_id.code, without_id.count) == ("rows_without_account_id", 2)
    assert "2026-01-01" in without_id.message
    assert (no_first_day.code, no_first_day.count) == ("months_not_first_day", 3)
    assert "SOURCE_TIMEZONE" in no_first_day.message
    with caplog.at_level("WARNING"):
        [missing] = preview_of(tmp_path, [row("A", BEFORE)]).warnings
    assert caplog.messages[-1] == f"{missing.code}: {missing.message}"
    assert missing.code == "month_not_in_source"
    assert missing.message == "No rows for 2026-01-01 in the source: check the export"
    assert missing.count is None
