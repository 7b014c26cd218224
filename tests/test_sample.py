"""The sample source has every trap, and a report that fits a screen."""

from datetime import date

import pytest

from core.domain import Alert
from examples.make_sample import TRAPS, Trap, write_sample
from tests.reading.stages import alerts_of, assess

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
