"""Alerts as Arrow tables: the stages pass them on, and make objects only to send, store or show alerts."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from core.domain import Counts, RunWarning, total

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
"""The alerts of a month, as the fields of `core.domain.Alert`."""

ROUTED_ALERTS = ALERTS.append(pa.field("channel", pa.string())).append(pa.field("reason", pa.string()))
"""The same with the channel, or with the reason why there is none."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """The alerts of the month, in order of account and type, and the counts of the scan that found them."""

    source_version: str
    counts_by_type: Mapping[str, Counts]
    """By alert type, for every rule that is enabled."""
    warnings: tuple[RunWarning, ...]
    alerts: pa.Table
    """Of `ALERTS`."""

    @property
    def counts(self) -> Counts:
        """Return the counts of all alert types together."""
        return total(self.counts_by_type)
