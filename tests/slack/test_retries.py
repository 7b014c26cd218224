"""Retries, their waits, and the pace of a lane; no test really waits."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from core.domain import Verdict
from core.runtime import Settings
from core.slack import Answer, Pacer, post_with_retries
from core.slack.retry import BACKOFF_MAX_SECONDS
from tests.waiting import Clock

DELIVERED = Answer(Verdict.DELIVERED)
BUSY = Answer(Verdict.RETRY, "server_error", "Slack answered 503")


def limited(seconds: float | None) -> Answer:
    return Answer(Verdict.RETRY, "rate_limited", "Slack answered 429", seconds)


def deliver(*answers: Answer, **values: Any) -> tuple[Answer, int, list[float]]:
    """Post against scripted answers; return the last answer, the attempts, and the wait before each retry."""
    script = list(answers)
    clock = Clock()
    times: list[float] = []

    async def post() -> Answer:
        times.append(clock())
        return script.pop(0)

    pacer = Pacer(clock.sleep, clock)
    answer = asyncio.run(post_with_retries(post, pacer, Settings(**values)))
    return answer, len(times), [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.parametrize("verdict", sorted({*Verdict} - {Verdict.RETRY}))
def test_only_confirmed_failures_are_retried(verdict: Verdict) -> None:
    final = Answer(verdict, "why", "because")
    assert deliver(final, DELIVERED) == (final, 1, [])
    assert deliver(BUSY, final, DELIVERED)[:2] == (final, 2)


@pytest.mark.parametrize("most", [1, 3])
def test_last_attempt_has_no_wait_after_it(most: int) -> None:
    answer, attempts, waits = deliver(*[BUSY] * 9, slack_max_attempts=most)
    assert (answer, attempts, len(waits)) == (BUSY, most, most - 1)


def test_waits_double_up_to_thirty_seconds() -> None:
    _, _, waits = deliver(*[BUSY] * 9, slack_max_attempts=9, slack_backoff_seconds=0.5)
    nominal = [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert len(waits) == len(nominal)
    for wait, least in zip(waits, nominal, strict=True):
        assert least <= wait <= min(least + 0.5, BACKOFF_MAX_SECONDS)
    assert waits[:6] != nominal[:6], "without jitter, channels would retry at the same moment"


def test_retry_after_is_waited_out_exactly() -> None:
    answer, attempts, waits = deliver(limited(120), limited(7), BUSY, DELIVERED)
    assert (answer, attempts) == (DELIVERED, 4)
    assert waits[:2] == [120, 7]
    assert waits[2] >= 2
    # It also replaces a longer backoff; without one, nothing holds the next request.
    assert deliver(limited(0.1), DELIVERED, slack_backoff_seconds=4)[2] == pytest.approx([0.1])
    assert deliver(BUSY, DELIVERED, slack_backoff_seconds=0)[2] == [0]


def test_long_retry_after_ends_the_message() -> None:
    answer, attempts, waits = deliver(limited(1_234_567.5), DELIVERED, slack_retry_after_max_seconds=120)
    assert (answer.verdict, answer.reason, attempts, waits) == (Verdict.REFUSED, "rate_limited", 1, [])
    assert answer.error == "Slack answered 429; asked to wait 1234567.5 s, more than 120 s"


def test_held_lane_starts_nothing_and_earns_no_burst() -> None:
    clock = Clock()
    pacer = Pacer(clock.sleep, clock)
    times: list[float] = []

    async def run() -> None:
        for held in ([], [30, 5], [1], [0]):
            for seconds in held:
                pacer.hold(seconds)
            await pacer.turn()
            times.append(clock() - 1000)
        clock.now += 60
        await pacer.turn()
        pacer.hold(1)
        await pacer.turn()
        times.append(clock() - 1000)

    asyncio.run(run())
    assert times == [0, 30, 31, 31, 92]
