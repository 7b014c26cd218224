"""An alert type that only the tests register, which finds accounts that other types find too."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from core.alerts import RULES, AlertRule


class OfTheTests(AlertRule):
    """Accounts with a streak that ends in the month before, whatever their status in the month."""

    type = "of_the_tests"
    anchor = -1
    look_back = 1
    headline = "Of the tests: {name} ({id})"
    streak = "Before: {months} ({start} to {end})"

    def find(self, winners: pa.Table) -> pa.ChunkedArray:
        return pc.greater(winners["months_at_risk_before"], 0)


OURS = OfTheTests()


def register(patch: pytest.MonkeyPatch) -> None:
    """Add the type to the registry, as a file of its own would."""
    patch.setitem(RULES, OURS.type, OURS)
