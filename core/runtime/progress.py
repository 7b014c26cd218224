"""How far a run has come, for whoever watches it in this process: a terminal, the Prefect UI."""

import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from core.domain import AlertStatus, RoutedAlert


@dataclass
class ChannelProgress:
    """The alerts that a run has for one channel, what became of some, and until when it waits for Slack."""

    total: int = 0
    done: Counter[AlertStatus] = field(default_factory=Counter)
    waits_until: datetime | None = None

    @property
    def settled(self) -> int:
        """How many have their outcome."""
        return self.done.total()

    def waits_at(self, now: datetime) -> bool:
        """Whether the channel still waits for Slack at `now`, an aware time."""
        return self.waits_until is not None and self.waits_until > now


class Progress:
    """What a run tells while it sends, from the threads that do; read by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows_read: int | None = None
        self._channels: dict[str, ChannelProgress] = {}

    def planned(self, rows_read: int, alerts: Iterable[RoutedAlert]) -> None:
        """Note what was read, and what is to be sent."""
        with self._lock:
            self._rows_read = rows_read
            for routed in alerts:
                self._channels.setdefault(routed.channel or "", ChannelProgress()).total += 1

    def settled(self, channel: str | None, status: AlertStatus) -> None:
        """Note an outcome; the channel waits no more."""
        with self._lock:
            if (found := self._channels.get(channel or "")) is not None:
                found.done[status] += 1
                found.waits_until = None

    def waits(self, channel: str | None, until: datetime) -> None:
        """Note that Slack asked the channel to wait."""
        with self._lock:
            if (found := self._channels.get(channel or "")) is not None:
                found.waits_until = until

    def now(self) -> tuple[int | None, dict[str, ChannelProgress]]:
        """Give the rows read, None before they are, and a copy of each channel's progress, by name."""
        with self._lock:
            return self._rows_read, {
                name: ChannelProgress(found.total, Counter(found.done), found.waits_until)
                for name, found in sorted(self._channels.items())
            }


def settled_of_all(channels: Mapping[str, ChannelProgress]) -> tuple[int, int]:
    """Give how many alerts of all channels are settled, and how many there are."""
    return sum(one.settled for one in channels.values()), sum(one.total for one in channels.values())
