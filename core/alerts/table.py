"""Alerts as Arrow tables: the stages pass them on, and make objects only to send, store or show alerts."""

import pyarrow as pa

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
