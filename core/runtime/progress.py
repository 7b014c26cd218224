"""The progress of a run in this process, for a terminal or the Prefect UI."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from core.domain import Alert, AlertStatus


@dataclass
class ChannelProgress:
    """The alerts that a run sends to one channel, their results, and how long the channel waits for Slack."""

    total: int = 0
    done: Counter[AlertStatus] = field(default_factory=Counter)
    waits_until: datetime | None = None

    @property
    def recorded(self) -> int:
        """Return the number of alerts with a recorded result."""
        return self.done.total()

    def waits_at(self, now: datetime) -> bool:
        """Return whether the channel still waits for Slack at `now`, an aware time."""
        return self.waits_until is not None and self.waits_until > now


class Progress:
    """The progress of a run that sends, written and read by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows_read: int | None = None
        self._channels: dict[str, ChannelProgress] = {}

    def planned(self, rows_read: int, alerts: Iterable[Alert]) -> None:
        """Add the number of rows read and the alerts to send."""
        with self._lock:
            self._rows_read = rows_read
            for alert in alerts:
                self._channels.setdefault(alert.channel or "", ChannelProgress()).total += 1

    def record(self, channel: str | None, status: AlertStatus) -> None:
        """Add a result, and end the channel's wait."""
        with self._lock:
            if (found := self._channels.get(channel or "")) is not None:
                found.done[status] += 1
                found.waits_until = None

    def waits(self, channel: str | None, until: datetime) -> None:
        """Set the time until which Slack asked the channel to wait."""
        with self._lock:
            if (found := self._channels.get(channel or "")) is not None:
                found.waits_until = until

    def now(self) -> tuple[int | None, dict[str, ChannelProgress]]:
        """Return the number of rows read, None before that, and a copy of each channel's progress by name."""
        with self._lock:
            return self._rows_read, {
                name: ChannelProgress(found.total, Counter(found.done), found.waits_until)
                for name, found in sorted(self._channels.items())
            }


def count_recorded(channels: Mapping[str, ChannelProgress]) -> tuple[int, int]:
    """Return the number of alerts with a recorded result and the number of alerts, in all channels."""
    return sum(one.recorded for one in channels.values()), sum(one.total for one in channels.values())
