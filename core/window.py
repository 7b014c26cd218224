"""The Arrow tables that pass between the stages, and the one rule that two of them share."""

from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

ROWS = pa.schema(
    [
        ("account_id", pa.large_string()),
        ("month", pa.date32()),
        ("at_risk", pa.bool_()),
        ("arr", pa.int64()),
        ("updated_seconds", pa.int64()),
        ("updated_nanos", pa.int64()),
        ("position", pa.int64()),
    ]
)
"""One row of the source each.

`arr` is filled in where it can matter: At Risk rows of the target month. `updated_seconds` (since the epoch,
UTC, rounded down) and `updated_nanos` (of that second, 0 to 999,999,999) are `updated_at`, comparable across
files of different units; both are null when it is. `position` orders rows as the source does: files in name
order, rows in file order.
"""

DETAILS = pa.schema(
    [
        ("position", pa.int64()),
        ("account_name", pa.large_string()),
        ("account_region", pa.large_string()),
        ("renewal_date", pa.date32()),
        ("account_owner", pa.large_string()),
    ]
)
"""What only alerts need, found by the row's `position`."""

INT64_MAX = 2**63 - 1


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Of a source, what one month's alerts can depend on.

    `rows` (of `ROWS`) holds every row of the month, and of earlier months at least the rows that the alerts'
    streaks and duplicates need; `details` (of `DETAILS`) at least the rows of possible alerts. Rows without
    `account_id` are in neither; those of the month are counted.
    """

    month: date
    rows: pa.Table
    details: pa.Table
    source_version: str
    rows_scanned: int
    rows_without_account_id: int


def passes_threshold(arr: pa.Array | pa.ChunkedArray, arr_threshold: int) -> pa.Array | pa.ChunkedArray:
    """Which ARRs (int64) alert: those of at least `arr_threshold`, and the unknown ones; never null."""
    if arr_threshold > INT64_MAX:
        return pc.is_null(arr)
    return pc.fill_null(pc.greater_equal(arr, pa.scalar(arr_threshold, pa.int64())), fill_value=True)


def month_before(month: date) -> date | None:
    """Step back to the first day of the month before, or None before year 1."""
    if month.month > 1:
        return date(month.year, month.month - 1, 1)
    return date(month.year - 1, 12, 1) if month.year > 1 else None
