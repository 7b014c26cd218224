"""The alert type `at_risk` of the specification: an account is At Risk in the month."""

import pyarrow as pa

from core.alerts.rule import AlertRule


class AtRisk(AlertRule):
    """Accounts whose winning row in the month is At Risk."""

    type = "at_risk"
    headline = "🚩 At Risk: {name} ({id})"
    streak = "At Risk for: {months} (since {start})"

    def find(self, winners: pa.Table) -> pa.ChunkedArray:
        """Return which rows are At Risk."""
        return winners["at_risk"]
