"""The retries of a message, and the pace of the messages to one destination; no other code decides them."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
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


async def post_with_retries(
    post: Callable[[], Awaitable[Answer]], settings: Settings, *, sleep: Sleep
) -> Answer:
    """Call `post` until its answer is final or the attempts are used up; return the last answer.

    The wait is Slack's `Retry-After`, else exponential backoff with jitter. After a last answer `RETRY` the
    message was not delivered. Errors of `post` and `sleep` pass through.
    """
    first, longest = settings.slack_backoff_seconds, settings.slack_retry_after_max_seconds
    backoff = wait_exponential_jitter(multiplier=first, max=BACKOFF_MAX_SECONDS, jitter=first)

    def asks_too_long(answer: Answer) -> bool:
        return answer.retry_after is not None and answer.retry_after > longest

    def wait(state: RetryCallState) -> float:
        asked = _last(state).retry_after
        return backoff(state) if asked is None else asked

    retrying = AsyncRetrying(
        sleep=sleep,
        stop=stop_after_attempt(settings.slack_max_attempts),
        wait=wait,
        retry=retry_if_result(lambda last: last.verdict is Verdict.RETRY and not asks_too_long(last)),
        retry_error_callback=_last,
    )
    answer: Answer = await retrying(post)
    if asks_too_long(answer):
        error = f"{answer.error}; asked to wait {answer.retry_after:.15g} s, more than {longest:g} s"
        answer = replace(answer, error=error)
    return answer


def _last(state: RetryCallState) -> Answer:
    """Return the answer of the last attempt."""
    assert state.outcome is not None  # noqa: S101  tenacity calls this only after an attempt
    answer: Answer = state.outcome.result()
    return answer
