"""The interface of an alert type, and the alerts that the types find, as an Arrow table."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from core.domain import Alert, Counts, RunWarning

OBJECTS_AT_ONCE = 1_000
EPOCH = date(1970, 1, 1).toordinal()


class AlertRule(ABC):
    """One alert type: the accounts that it finds, the data that it needs, and its words."""

    type: ClassVar[str]
    """The name of the type in `ALERT_TYPES`, in the ledger and in the API, and of its count in a run."""
    anchor: ClassVar[Literal[0, -1]] = 0
    """The month in which the streaks of its alerts end: the target month (0) or the month before (-1)."""
    look_back: ClassVar[int] = 0
    """How many months before the target month `find` depends on."""

    headline: ClassVar[str]
    """The first line of a message, with {name} and {id}."""
    streak: ClassVar[str]
    """The line of a message about the streak, with {months}, {start} and {end}."""

    @abstractmethod
    def find(self, winners: pa.Table) -> pa.ChunkedArray:
        """Return which of the month's winning rows this type finds (bool, never null), whatever their ARR.

        `winners` has a row for each candidate with a row in the month: `at_risk` (bool) and
        `months_at_risk_before` (int64), how many months it was at risk without a gap up to the month before;
        for an account below the threshold, possibly no more than `look_back`.
        """


ALERTS = pa.schema(
    [
        ("alert_type", pa.string()),
        ("account_id", pa.large_string()),
        ("account_name", pa.large_string()),
        ("account_region", pa.large_string()),
        ("arr", pa.int64()),
        ("renewal_date", pa.date32()),
        ("account_owner", pa.large_string()),
        ("duration_months", pa.int32()),
        ("risk_start_month", pa.date32()),
    ]
)
"""The alerts of a month: all fields of `core.domain.Alert` except `channel`, which `route` adds."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The alerts of the month, in order of account and type, and the counts of the scan that found them."""

    source_version: str
    counts_by_type: Mapping[str, Counts]
    """By alert type, for every rule that is enabled."""
    warnings: tuple[RunWarning, ...]
    alerts: pa.Table
    """A table with the schema `ALERTS`."""


def passes_threshold(arr: pa.Array | pa.ChunkedArray, arr_threshold: int) -> pa.Array | pa.ChunkedArray:
    """Return a mask of the ARRs (int64) that are at least `arr_threshold` or unknown, without nulls."""
    return pc.fill_null(pc.greater_equal(arr, arr_threshold), fill_value=True)


def each_alert(routed: pa.Table) -> Iterator[Alert]:
    """Yield the alerts of a routed table as objects, in order."""
    for batch in routed.to_batches(max_chunksize=OBJECTS_AT_ONCE):
        yield from map(Alert, *(objects(batch[name]) for name in Alert._fields))


def objects(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return the values of a column as Python objects, None for a null."""
    if not pa.types.is_date32(column.type):
        return list(column.to_pylist())
    # `to_pylist` takes six times as long for dates.
    days = column.cast(pa.int32()).to_pylist()
    return [None if day is None else date.fromordinal(EPOCH + day) for day in days]
