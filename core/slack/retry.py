"""When a message is sent again, and how fast the messages of a lane leave; no other code decides this."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from core.domain import Verdict
from core.runtime import Settings
from core.slack.verdicts import Answer

BACKOFF_MAX_SECONDS = 30.0

Sleep = Callable[[float], Awaitable[None]]
"""Waits for a number of seconds; raises when the run is stopped."""


class Pacer:
    """The pace of one lane, whose requests leave one after the other."""

    def __init__(self, sleep: Sleep, clock: Callable[[], float] = time.monotonic) -> None:
        self._sleep = sleep
        # Not the wall clock, because its jump would delay the channel for the same time.
        self._clock = clock
        self._free_at = clock()

    async def turn(self) -> None:
        """Wait until the next request may leave."""
        if (wait := self._free_at - self._clock()) > 0:
            await self._sleep(wait)

    def hold(self, seconds: float) -> None:
        """Delay the next request until `seconds` from now, or longer if it already is."""
        self._free_at = max(self._free_at, self._clock() + seconds)


async def post_with_retries(
    post: Callable[[], Awaitable[Answer]], pacer: Pacer, settings: Settings
) -> Answer:
    """Call `post` until its answer is final or the attempts are used up; return the last answer.

    The caller has waited for the first turn. A retry waits for Slack's `Retry-After`, else for exponential
    backoff with jitter, and in any case for its turn. A `Retry-After` that is too long for the settings makes
    the answer `REFUSED`. Errors of `post` and of the pacer's `sleep` pass through.
    """
    first, longest = settings.slack_backoff_seconds, settings.slack_retry_after_max_seconds
    backoff = wait_exponential_jitter(multiplier=first, max=BACKOFF_MAX_SECONDS, jitter=first)

    async def attempt() -> Answer:
        answer = await post()
        asked = answer.retry_after or 0
        if asked > longest:
            error = f"{answer.error}; asked to wait {asked:.15g} s, more than {longest:g} s"
            return replace(answer, verdict=Verdict.REFUSED, error=error)
        pacer.hold(asked)
        return answer

    async def pause(seconds: float) -> None:
        pacer.hold(seconds)
        await pacer.turn()

    retrying = AsyncRetrying(
        sleep=pause,
        stop=stop_after_attempt(settings.slack_max_attempts),
        wait=lambda state: _answer(state).retry_after or backoff(state),
        retry=retry_if_result(lambda answer: answer.verdict is Verdict.RETRY),
        retry_error_callback=_answer,
    )
    return await retrying(attempt)


def _answer(state: RetryCallState) -> Any:
    return state.outcome and state.outcome.result()
