"""The retries of a message, and the pace of the messages to one destination; no other code decides them."""

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from tenacity import AsyncRetrying, RetryError, retry_if_result, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from core.domain import Verdict
from core.runtime import Settings
from core.slack.verdicts import Answer

BACKOFF_MAX_SECONDS = 30.0

Sleep = Callable[[float], Awaitable[None]]
"""Waits for a number of seconds; raises when the run is stopped."""


class Pacer:
    """The pace of one destination: at most `rate` starts a second, evenly spaced; 0 means no pacing."""

    def __init__(self, rate: float, *, sleep: Sleep, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate if rate else 0.0
        self.sleep = sleep
        # A jump of the wall clock would stop a channel for that time.
        self._clock = clock
        self._free_at = clock()

    async def turn(self) -> None:
        """Wait for the next free start; concurrent callers get one each."""
        now = self._clock()
        start = max(now, self._free_at)
        self._free_at = start + self._interval
        if start > now:
            await self.sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Delay every start by `seconds`, since a `Retry-After` is for the whole channel."""
        self._free_at = max(self._free_at, self._clock() + seconds)


async def post_with_retries(
    post: Callable[[], Awaitable[Answer]], pacer: Pacer, settings: Settings
) -> Answer:
    """Call `post` until its answer is final or the attempts are used up; return the last answer.

    The caller has waited for the first start. A retry waits for Slack's `Retry-After`, else for exponential
    backoff with jitter, and then for its turn. A `Retry-After` that is too long for the settings makes the
    answer `REFUSED`. Errors of `post` and of the pacer's `sleep` pass through.
    """
    first, longest = settings.slack_backoff_seconds, settings.slack_retry_after_max_seconds
    answer = Answer(Verdict.RETRY)

    async def attempt() -> Answer:
        nonlocal answer
        answer = await post()
        asked = answer.retry_after or 0
        if asked > longest:
            error = f"{answer.error}; asked to wait {asked:.15g} s, more than {longest:g} s"
            answer = replace(answer, verdict=Verdict.REFUSED, error=error)
        else:
            pacer.hold(asked)
        return answer

    async def pause(backoff: float) -> None:
        # A `Retry-After` holds every start of the pacer, so the turn waits for it.
        if not answer.retry_after:
            await pacer.sleep(backoff)
        await pacer.turn()

    retrying = AsyncRetrying(
        sleep=pause,
        stop=stop_after_attempt(settings.slack_max_attempts),
        wait=wait_exponential_jitter(multiplier=first, max=BACKOFF_MAX_SECONDS, jitter=first),
        retry=retry_if_result(lambda last: last.verdict is Verdict.RETRY),
    )
    with suppress(RetryError):
        await retrying(attempt)
    return answer
