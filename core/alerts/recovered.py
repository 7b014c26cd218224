"""The alert type `recovered`: an account was At Risk in the month before and is not in this month."""

import pyarrow as pa
import pyarrow.compute as pc

from core.alerts.rule import AlertRule


class Recovered(AlertRule):
    """Accounts whose winning row in the month before is At Risk and whose winning row in the month is not."""

    type = "recovered"
    anchor = -1
    look_back = 1
    headline = "✅ Recovered: {name} ({id})"
    streak = "Was At Risk for: {months} ({start} to {end})"

    def find(self, winners: pa.Table) -> pa.ChunkedArray:
        """Return which rows are not At Risk, of accounts that were At Risk in the month before."""
        return pc.and_(pc.invert(winners["at_risk"]), pc.greater(winners["months_at_risk_before"], 0))
