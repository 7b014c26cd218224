"""The channel of a region."""

import pyarrow as pa
import pytest

from core.alerts import ALERTS, each_alert
from core.runtime import Settings
from tasks.route import route
from tests.delivery.world import MONTH

SETTINGS = Settings(regions={"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts"})


def alerts(*regions: str | None) -> pa.Table:
    """Return an alert of each region."""
    rows = [
        {"account_id": f"A-{number}", "account_region": region, "risk_start_month": MONTH}
        for number, region in enumerate(regions)
    ]
    return pa.Table.from_pylist(rows, schema=ALERTS)


@pytest.mark.parametrize("region", [None, "", "APAC", "amer", "AMER ", " EMEA", "null", "amer-risk-alerts"])
def test_region_names_match_exactly(region: str | None) -> None:
    [routed] = each_alert(route.fn(alerts(region), SETTINGS))
    assert (routed.channel, routed.account_region) == (None, region)


def test_alerts_are_routed_in_their_order(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.alerts.rule.OBJECTS_AT_ONCE", 2)
    with caplog.at_level("INFO"):
        found = list(each_alert(route.fn(alerts("EMEA", None, "AMER"), SETTINGS)))
    assert [item.account_id for item in found] == ["A-0", "A-1", "A-2"]
    assert [item.channel for item in found] == ["emea-risk-alerts", None, "amer-risk-alerts"]
    assert "2 alerts for 2 channels, 1 without a channel" in caplog.messages
    assert list(each_alert(route.fn(alerts(), SETTINGS))) == []
