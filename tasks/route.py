"""Route each alert to the channel of its region."""

import logging

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task

from core.runtime import Settings

logger = logging.getLogger(__name__)


@task
def route(alerts: pa.Table, settings: Settings) -> pa.Table:
    """Return the alerts (of `core.alerts.ALERTS`) with their `channel`, which is null for an unknown region.

    There is no default channel, and names match exactly.
    """
    known = pa.array([*settings.regions], pa.large_string())
    channels = pa.array([*settings.regions.values()], pa.string())
    channel = channels.take(pc.index_in(alerts["account_region"], value_set=known))
    used = len(pc.unique(channel).drop_null())
    unknown = channel.null_count
    logger.info("%d alerts for %d channels, %d without a channel", len(channel) - unknown, used, unknown)
    return alerts.append_column("channel", channel)
