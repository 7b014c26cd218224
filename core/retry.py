"""When to try Slack again, and how fast to go: the only place that retries a message."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
from tenacity.wait import wait_base, wait_exponential_jitter

from core.settings import Settings
from core.slack import Answer, Verdict

BACKOFF_MAX_SECONDS = 30.0

Sleep = Callable[[float], Awaitable[None]]
"""Waits so many seconds. A run that stops raises from here; returning early only makes the wait shorter."""


class RetryWait(wait_base):
    """Seconds to the next try: what Slack asked for, else a backoff that doubles, with jitter, up to 30 s."""

    def __init__(self, backoff_seconds: float) -> None:
        self._backoff = wait_exponential_jitter(
            multiplier=backoff_seconds, max=BACKOFF_MAX_SECONDS, jitter=backoff_seconds
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        """Decide from the last answer and the number of tries so far."""
        asked = _last(retry_state).retry_after
        return asked if asked is not None else self._backoff(retry_state)


async def post_with_retries(
    post: Callable[[], Awaitable[Answer]], settings: Settings, *, sleep: Sleep
) -> tuple[Answer, int]:
    """Call `post` until its answer is final or the tries are used up; gives the last answer and the tries.

    An answer that is still `RETRY` is a message that was surely not delivered. What `post` or `sleep` raises
    comes through.
    """
    longest = settings.slack_retry_after_max_seconds
    attempts = 0

    async def attempt() -> Answer:
        nonlocal attempts
        attempts += 1
        return await post()

    def worth_another_try(answer: Answer) -> bool:
        return answer.verdict is Verdict.RETRY and not _asks_too_long(answer, longest)

    retrying = AsyncRetrying(
        sleep=sleep,
        stop=stop_after_attempt(settings.slack_max_attempts),
        wait=RetryWait(settings.slack_backoff_seconds),
        retry=retry_if_result(worth_another_try),
        retry_error_callback=_last,
    )
    answer: Answer = await retrying(attempt)
    if _asks_too_long(answer, longest):
        error = f"{answer.error}; asked to wait {answer.retry_after:g} s, more than {longest:g} s"
        answer = replace(answer, error=error)
    return answer, attempts


class Pacer:
    """The pace of one lane: at most `rate` starts a second, evenly spaced; 0 is as fast as it goes."""

    def __init__(self, rate: float, *, sleep: Sleep, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval = 1 / rate if rate else 0.0
        self._sleep = sleep
        # Monotonic: a wall clock that jumps an hour must not stop a channel for an hour.
        self._clock = clock
        self._free_at = clock()

    async def turn(self) -> None:
        """Wait for the lane's next free moment and take it; callers side by side get one each."""
        now = self._clock()
        start = max(now, self._free_at)
        self._free_at = start + self._interval
        if start > now:
            await self._sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Let no one start for so many seconds: a `Retry-After` is for the channel, not for one message."""
        self._free_at = max(self._free_at, self._clock() + seconds)


def _asks_too_long(answer: Answer, longest: float) -> bool:
    return answer.retry_after is not None and answer.retry_after > longest


def _last(state: RetryCallState) -> Answer:
    """Give the answer of the latest try, which has one whenever a wait or the end is decided."""
    assert state.outcome is not None  # noqa: S101  tenacity's promise, told to the type checker
    answer: Answer = state.outcome.result()
    return answer
