"""The pace of the messages to one destination."""

import time
from collections.abc import Awaitable, Callable

Sleep = Callable[[float], Awaitable[None]]
"""Waits for a number of seconds; raises when the run is stopped."""


class Pacer:
    """The pace of one destination: at most `rate` starts a second, evenly spaced; 0 means no pacing."""

    def __init__(self, rate: float, *, sleep: Sleep, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._sleep = sleep
        # A jump of the wall clock would stop a channel for that time.
        self._clock = clock
        self._free_at = clock()

    async def turn(self) -> None:
        """Wait for the next free start; concurrent callers get one each."""
        now = self._clock()
        start = max(now, self._free_at)
        self._free_at = start + self._interval
        if start > now:
            await self._sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Delay every start by `seconds`, since a `Retry-After` is for the whole channel."""
        self._free_at = max(self._free_at, self._clock() + seconds)
