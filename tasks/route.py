"""Region to channel, or a named reason why not."""

import logging
from collections.abc import Mapping, Sequence

from prefect import task
from prefect.cache_policies import NO_CACHE

from core.domain import UNKNOWN_REGION, Alert, RoutedAlert
from core.runtime import Settings

logger = logging.getLogger(__name__)


def route_alert(alert: Alert, regions: Mapping[str, str]) -> RoutedAlert:
    """Give an alert its region's channel; there is no default one, and names match exactly."""
    channel = regions.get(alert.account_region) if alert.account_region else None
    return RoutedAlert(alert, channel, reason=None if channel else UNKNOWN_REGION)


@task(name="route", cache_policy=NO_CACHE, persist_result=False)
def route(alerts: Sequence[Alert], settings: Settings) -> list[RoutedAlert]:
    """Route each alert by `REGIONS`."""
    routed = [route_alert(alert, settings.regions) for alert in alerts]
    unknown = sum(item.channel is None for item in routed)
    channels = len({item.channel for item in routed if item.channel})
    logger.info("Routed %d alerts to %d channels; %d have an unknown region", len(routed), channels, unknown)
    return routed
