"""The interface of an alert type: the accounts that it finds, the data that it needs, and its words."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import pyarrow as pa


class AlertRule(ABC):
    """One alert type."""

    type: ClassVar[str]
    """The name of the type in `ALERT_TYPES`, in the ledger and in the API, and of its count in a run."""
    anchor: ClassVar[Literal[0, -1]] = 0
    """The month in which the streaks of its alerts end: the target month (0) or the month before (-1)."""
    look_back: ClassVar[int] = 0
    """How many months before the target month `find` needs, also of accounts below the threshold."""

    headline: ClassVar[str]
    """The first line of a message, with {name} and {id}."""
    streak: ClassVar[str]
    """The line of a message about the streak, with {months}, {start} and {end}."""

    @abstractmethod
    def find(self, winners: pa.Table) -> pa.ChunkedArray:
        """Return which of the month's winning rows this type finds (bool, never null), whatever their ARR.

        `winners` has a row for each candidate with a row in the month: `at_risk` (bool) and `months_before`
        (int64), how many months it was at risk without a gap up to the month before.
        """
