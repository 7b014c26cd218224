"""What an alert type says of itself: which accounts it finds, and what it must know for that."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import pyarrow as pa


class AlertRule(ABC):
    """One alert type.

    `type` is its name in `ALERT_TYPES`, in the ledger and in the API. Its streaks end at the target month
    (`anchor` 0) or at the month before (`anchor` -1). `look_back` is how many months before the month `find`
    must know, also of accounts below the threshold. Its words are in `core.slack.message`.
    """

    type: ClassVar[str]
    anchor: ClassVar[Literal[0, -1]]
    look_back: ClassVar[int]

    @abstractmethod
    def find(self, winners: pa.Table) -> pa.ChunkedArray:
        """Say which of the month's winning rows this type finds (bool, never null), whatever their ARR.

        `winners` has a row for each candidate with a row in the month: `at_risk` (bool) and `months_before`
        (int32), how many months it was at risk without a gap up to the month before.
        """
