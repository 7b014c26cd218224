"""The answer that every reader must give, and the question."""

import hashlib
import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path

MONTH = date(2026, 1, 1)
"""The newest month, which is the target month."""


@dataclass(frozen=True)
class Question:
    """A source (a path or a URI), its target month, and how many months the peers look back at first."""

    source: str
    month: date
    threshold: int
    first_look: int = 3

    @property
    def uri(self) -> str:
        """Return the URI of the source."""
        return self.source if "://" in self.source else Path(self.source).as_uri()

    @property
    def files(self) -> list[str]:
        """Return the Parquet files in name order."""
        path = Path(self.source)
        return [self.source] if path.is_file() else sorted(map(str, path.glob("*.parquet")))


Row = tuple[str, int, date, str, str | None, int | None, date | None, str | None]
"""account_id, duration_months, risk_start_month, name, region, arr, renewal_date, owner."""


@dataclass(frozen=True)
class Answer:
    """Alerts in any order, and counts; `duplicates` is None where a peer does not count them."""

    alerts: list[Row]
    at_risk: int
    below_threshold: int
    duplicates: int | None = None

    def summary(self) -> dict[str, str | int | None]:
        """Return a short text that differs when an answer differs."""
        digest = hashlib.sha256(json.dumps(sorted(self.alerts), default=str).encode()).hexdigest()
        return {
            "alerts": len(self.alerts),
            "streak_months": sum(row[1] for row in self.alerts),
            "at_risk": self.at_risk,
            "below_threshold": self.below_threshold,
            "duplicates": self.duplicates,
            "digest": digest[:16],
        }
