"""Retries of a message; no other code retries one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from core.domain import Verdict
from core.runtime import Settings
from core.slack.pacing import Sleep
from core.slack.verdicts import Answer

BACKOFF_MAX_SECONDS = 30.0


async def post_with_retries(
    post: Callable[[], Awaitable[Answer]], settings: Settings, *, sleep: Sleep
) -> tuple[Answer, int]:
    """Call `post` until its answer is final or the attempts are used up; return the answer and the attempts.

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
        error = f"{answer.error}; asked to wait {answer.retry_after:g} s, more than {longest:g} s"
        answer = replace(answer, error=error)
    return answer, retrying.statistics["attempt_number"]


def _last(state: RetryCallState) -> Answer:
    """Return the answer of the last attempt."""
    assert state.outcome is not None  # noqa: S101  tenacity calls this only after an attempt
    answer: Answer = state.outcome.result()
    return answer
