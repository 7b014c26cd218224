"""The alert of the specification: an account is At Risk in the month."""

import pyarrow as pa

from core.alerts.rule import AlertRule


class AtRisk(AlertRule):
    """Accounts whose winning row in the month is At Risk."""

    type = "at_risk"
    anchor = 0
    look_back = 0

    def find(self, winners: pa.Table) -> pa.ChunkedArray:
        """See `AlertRule`."""
        return winners["at_risk"]
