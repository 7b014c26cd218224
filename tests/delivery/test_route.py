"""Region to channel, or a named reason why not."""

import pytest

from core.domain import UNKNOWN_REGION, Alert
from core.runtime import Settings
from tasks.route import route, route_alert
from tests.delivery.world import MONTH

REGIONS = {"AMER": "amer-risk-alerts", "EMEA": "emea-risk-alerts"}


def alert(region: str | None) -> Alert:
    """Return an alert of a region."""
    return Alert("A-1", "Acme", region, None, None, None, 1, MONTH, "at_risk")


@pytest.mark.parametrize(("region", "channel"), REGIONS.items())
def test_a_region_goes_to_its_channel(region: str, channel: str) -> None:
    routed = route_alert(alert(region), REGIONS)
    assert (routed.channel, routed.reason) == (channel, None)


@pytest.mark.parametrize("region", [None, "", "APAC", "amer", "AMER ", " EMEA", "null", "amer-risk-alerts"])
def test_there_is_no_default_channel_and_names_match_exactly(region: str | None) -> None:
    routed = route_alert(alert(region), REGIONS)
    assert (routed.channel, routed.reason) == (None, UNKNOWN_REGION)
    assert routed.alert.account_region == region


def test_alerts_are_routed_in_their_order(caplog: pytest.LogCaptureFixture) -> None:
    alerts = [alert("EMEA"), alert(None), alert("AMER")]
    with caplog.at_level("INFO"):
        found = route.fn(alerts, Settings(regions=REGIONS))
    assert [item.alert for item in found] == alerts
    assert [item.channel for item in found] == ["emea-risk-alerts", None, "amer-risk-alerts"]
    assert "Routed 3 alerts to 2 channels; 1 have an unknown region" in caplog.messages
