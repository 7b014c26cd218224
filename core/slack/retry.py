"""Retries of a message; no other code retries one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
from tenacity.wait import wait_base, wait_exponential_jitter

from core.domain import Verdict
from core.runtime import Settings
from core.slack.pacing import Sleep
from core.slack.verdicts import Answer

BACKOFF_MAX_SECONDS = 30.0


class RetryWait(wait_base):
    """The wait before the next attempt: Slack's `Retry-After`, else exponential backoff with jitter."""

    def __init__(self, backoff_seconds: float) -> None:
        self._backoff = wait_exponential_jitter(
            multiplier=backoff_seconds, max=BACKOFF_MAX_SECONDS, jitter=backoff_seconds
        )

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return the seconds to wait."""
        asked = _last(retry_state).retry_after
        return asked if asked is not None else self._backoff(retry_state)


async def post_with_retries(
    post: Callable[[], Awaitable[Answer]], settings: Settings, *, sleep: Sleep
) -> tuple[Answer, int]:
    """Call `post` until its answer is final or the attempts are used up; return the answer and the attempts.

    After a last answer `RETRY` the message was not delivered. Errors of `post` and `sleep` pass through.
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


def _asks_too_long(answer: Answer, longest: float) -> bool:
    return answer.retry_after is not None and answer.retry_after > longest


def _last(state: RetryCallState) -> Answer:
    """Return the answer of the last attempt."""
    assert state.outcome is not None  # noqa: S101  tenacity calls this only after an attempt
    answer: Answer = state.outcome.result()
    return answer
