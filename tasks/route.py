"""Route each alert to the channel of its region."""

import logging
from collections.abc import Iterator
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task

from core.domain import Alert
from core.runtime import Settings

logger = logging.getLogger(__name__)

OBJECTS_AT_ONCE = 1_000
EPOCH = date(1970, 1, 1).toordinal()


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


def each_alert(routed: pa.Table) -> Iterator[Alert]:
    """Yield the alerts that `route` returned as objects, in order."""
    for batch in routed.to_batches(max_chunksize=OBJECTS_AT_ONCE):
        yield from map(Alert, *(objects(batch[name]) for name in Alert._fields))


def objects(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as Python objects, None for a null."""
    if not pa.types.is_date32(column.type):
        return list(column.to_pylist())
    # `to_pylist` takes six times as long for dates.
    days = column.cast(pa.int32()).to_pylist()
    return [None if day is None else date.fromordinal(EPOCH + day) for day in days]
