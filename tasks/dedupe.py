"""Find the winning row of each (account_id, month), and count the rows that it supersedes."""

import logging

import pyarrow as pa
import pyarrow.compute as pc
from prefect import task

logger = logging.getLogger(__name__)

KEY = ["account", "month"]
LATEST_LAST = [("updated_at", "ascending", "at_start"), ("position", "ascending")]


@task
def dedupe(rows: pa.Table) -> pa.Table:
    """Return the row with the latest `updated_at` of each (account, month), in any order.

    `rows` are `core.sources.window.ROWS` in any order. If times are equal, the later position wins; a null
    `updated_at` loses to any other. The result has one more column, `superseded` (int64): the number of rows
    that this row supersedes.
    """
    by_time = pc.sort_indices(rows, sort_keys=LATEST_LAST)
    keys = rows.select(KEY).take(by_time).append_column("row", by_time)
    # `last` is the latest row only if a group keeps its order, which Arrow promises for a single thread.
    groups = keys.group_by(KEY, use_threads=False).aggregate([("row", "last"), ("row", "count")])
    superseded = pc.subtract(groups["row_count"], 1)
    logger.info("%d winning rows of the %d rows kept", groups.num_rows, rows.num_rows)
    return rows.take(groups["row_last"]).append_column("superseded", superseded)
