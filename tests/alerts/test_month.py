"""The alerts that each type finds in a month, by the preview of a small source."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from core.alerts import PreviewView
from core.domain import RunRequest, parse_month
from core.runtime import Settings
from flows.preview import preview
from tests.alerts.of_the_tests import OURS, register
from tests.service import MONTH, row, write_source

BEFORE, TWO_BEFORE = "2025-12-01", "2025-11-01"
ALL = ["at_risk", "recovered", OURS.type]


@dataclass(frozen=True)
class Case:
    """Rows, and what the types find: (type, months, start) of each alert, and counts that are not 0."""

    rows: list[dict[str, Any]]
    alerts: list[tuple[str, int, str]] = field(default_factory=list)
    types: list[str] = field(default_factory=lambda: ["at_risk", "recovered"])
    counts: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    month: str = MONTH


def healthy(month: str = MONTH, **other: Any) -> dict[str, Any]:
    return row("A", month, "Healthy", **other)


CASES = {
    "recovered": Case(
        [row("A", TWO_BEFORE), row("A", BEFORE), healthy()],
        [("recovered", 2, TWO_BEFORE)],
        counts={"recovered": 1},
    ),
    "recovered is off by default": Case(
        [row("A", BEFORE), healthy(), row("B")],
        [("at_risk", 1, MONTH)],
        types=["at_risk"],
        counts={"at_risk": 1, "recovered": 0},
    ),
    "at_risk is off where it is not named": Case(
        [row("A", BEFORE), healthy(), row("B")],
        [("recovered", 1, BEFORE)],
        types=["recovered"],
        counts={"at_risk": 0, "recovered": 1},
    ),
    "the month has only rows without account_id": Case([row("")], warnings=["rows_without_account_id"]),
    "the account has no row in the month": Case([row("A", BEFORE), row("B")], [("at_risk", 1, MONTH)]),
    "two types on one account": Case(
        [row("A", BEFORE), row("A", BEFORE), row("A")],
        [("at_risk", 2, BEFORE), (OURS.type, 1, BEFORE)],
        types=ALL,
        counts={"at_risk": 1, OURS.type: 1, "would_send": 2, "duplicates_found": 1},
    ),
    "alerts on one account are in order of their types": Case(
        [row("A", BEFORE), healthy()], [(OURS.type, 1, BEFORE), ("recovered", 1, BEFORE)], types=ALL
    ),
    "two types on one account below the threshold": Case(
        [row("A", BEFORE), healthy(arr=1)],
        types=ALL,
        counts={"recovered": 1, OURS.type: 1, "below_threshold": 2},
    ),
    "two types on one account without a channel": Case(
        [row("A", BEFORE), row("A", account_region="LATAM")],
        [("at_risk", 2, BEFORE), (OURS.type, 1, BEFORE)],
        types=ALL,
        counts={"failed_deliveries": 2, "unknown_region": 2},
    ),
    "the first month of the calendar": Case(
        [row("A", "0001-01-01")], [("at_risk", 1, "0001-01-01")], month="0001-01-01"
    ),
    "the second month of the calendar": Case(
        [row("A", "0001-01-01"), healthy("0001-02-01")],
        [("recovered", 1, "0001-01-01")],
        month="0001-02-01",
    ),
    "the last month of the calendar": Case(
        [row("A", "9999-11-01"), healthy("9999-12-01")],
        [("recovered", 1, "9999-11-01")],
        month="9999-12-01",
    ),
}


def see(case: Case, folder: Path) -> PreviewView:
    settings = Settings(
        alert_types=case.types, regions={"AMER": "amer"}, database_url=f"sqlite:///{folder}/ledger.db"
    )
    source = write_source(folder / "status.parquet", case.rows)
    request = RunRequest(source, parse_month(case.month))
    return preview(request, settings)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_type_finds_its_alerts(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch)
    found = see(case, tmp_path)
    assert [
        (alert.alert_type, alert.duration_months, str(alert.risk_start_month)) for alert in found.alerts
    ] == case.alerts
    counts = found.counts.model_dump()
    assert {name: counts[name] for name in case.counts} == case.counts
    assert [warning.code for warning in found.warnings] == case.warnings
    assert sorted(found.counts_by_type) == sorted(case.types)
    for one in (found.counts, *found.counts_by_type.values()):
        numbers = one.model_dump()
        assert sum(numbers[name] for name in case.types) == one.below_threshold + (
            one.would_send + one.failed_deliveries + one.skipped_replay + one.alerts_sent
        )


@pytest.mark.parametrize(("name", "shown"), [(None, "A"), ("", "A"), ("N", "N")])
def test_account_without_a_name_is_named_by_its_id(name: str | None, shown: str, tmp_path: Path) -> None:
    [alert] = see(Case([row("A", account_name=name)]), tmp_path).alerts
    assert alert.account_name == shown


def test_each_warning_says_what_it_is_about(tmp_path: Path) -> None:
    rows = [row(""), row(""), *(row("A", f"2026-01-{day}") for day in (15, 16, 17))]
    without_id, no_first_day = see(Case(rows), tmp_path).warnings
    assert (without_id.code, without_id.count) == ("rows_without_account_id", 2)
    assert "2026-01-01" in without_id.message
    assert (no_first_day.code, no_first_day.count) == ("months_not_first_day", 3)
    assert "SOURCE_TIMEZONE" in no_first_day.message
    [missing] = see(Case([row("A", BEFORE)]), tmp_path).warnings
    assert missing.code == "month_not_in_source"
    assert missing.message == "No rows for 2026-01-01 in the source: check the export"
    assert missing.count is None
