"""Claim each alert, post it with retries, and record its result.

An alert is claimed in the ledger before its request leaves, and its result is recorded right after the
answer, so that no replay sends it twice after a crash. A lane is one channel, or the single webhook. Lanes
are independent; a lane sends one alert after the other, so that a `Retry-After` delays the whole channel.
"""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from prefect import task

from core.domain import Alert, AlertStatus, Delivery, Interrupted, LedgerError, Verdict
from core.run import RunContext, utc_now
from core.runtime import DELIVERIES, POLL_SECONDS
from core.slack import Answer, Pacer, SlackWebhooks, build_message, post_with_retries

PROGRESS_SECONDS = 10
"""Seconds between two lines of progress in the log."""

logger = logging.getLogger(__name__)


@task
async def send(run: RunContext, to_send: Sequence[Alert]) -> None:
    """Send the alerts of the plan."""
    logger.info("Sending %d alerts", len(to_send))
    if not to_send:
        return
    # The requests have an event loop of their own, because a signal may end this one.
    sending = asyncio.ensure_future(asyncio.to_thread(asyncio.run, deliver(run, to_send)))
    try:
        await asyncio.wait({sending})
    except asyncio.CancelledError as canceled:
        run.stop = True
        # This takes at most the timeouts of one request and its commits.
        await asyncio.wait({sending})
        raise canceled from sending.exception()
    sending.result()


async def deliver(run: RunContext, alerts: Sequence[Alert]) -> None:
    """Send the alerts, all lanes at once; raise `Interrupted` when the run is stopped before the end.

    After a stop or an error no lane claims another alert, and requests in flight get their answer.
    """
    async with SlackWebhooks(run.settings) as slack:
        by_lane = defaultdict[str, list[Alert]](list)
        for alert in alerts:
            by_lane[slack.lane(alert.channel or "")].append(alert)
        lanes = [Lane(run, slack, those) for those in by_lane.values()]
        sending = [asyncio.create_task(lane.deliver()) for lane in lanes]
        while (await asyncio.wait(sending, timeout=PROGRESS_SECONDS))[1]:
            logger.info("%d of %d alerts recorded", sum(lane.recorded for lane in lanes), len(alerts))
    for error in [lane.exception() for lane in sending]:
        if error:
            raise error
    run.check_stop()


class Lane:
    """The alerts of one lane, sent one after the other."""

    def __init__(self, run: RunContext, slack: SlackWebhooks, alerts: Sequence[Alert]) -> None:
        self._run = run
        self._slack = slack
        self._alerts = alerts
        rate = run.settings.slack_channel_rate
        self._interval = 1 / rate if rate else 0.0
        self._pacer = Pacer(self._sleep)
        self._refusal: Answer | None = None
        """The result of the other alerts, after Slack has refused every message."""
        self.recorded = 0
        """How many of the alerts have a result in the ledger."""

    async def deliver(self) -> None:
        """Send what can be claimed until the run is stopped; an error stops the other lanes too."""
        try:
            for alert in self._alerts:
                await self._deliver_one(alert)
                self.recorded += 1
        except BaseException as error:
            # If the run is stopped, `deliver` raises `Interrupted` for all lanes. Else the ledger raised it.
            if not (self._run.stop_requested and isinstance(error, Interrupted)):
                self._run.stop = True
                raise

    async def _deliver_one(self, alert: Alert) -> None:
        """Claim, post and record one alert, unless another run has sent or claimed it."""
        ledger, run_id = self._run.ledger, self._run.run_id
        # Before the claim: a run that dies or fails here leaves nothing unconfirmed.
        message = build_message(alert, self._run.request.month, self._run.settings)
        await self._pacer.turn()
        self._run.check_stop()
        # In a thread: the commit waits for the disk, and must not delay the answers of other lanes.
        claim = await asyncio.to_thread(ledger.claim, run_id, alert, utc_now())
        if claim.status is not AlertStatus.SENDING:
            return
        answer, attempts = await self._post(alert, message)
        delivery = delivery_of(alert, answer, attempts, utc_now())
        name = f"{delivery.key.alert_type} alert of {delivery.key.account_id!r}"
        try:
            delivery = await asyncio.to_thread(ledger.record_answer, run_id, delivery, utc_now())
        except LedgerError:
            # The row stays `sending`, and later becomes `unconfirmed`: only this line shows the result.
            logger.error("%s to %s: %s, not recorded", name, alert.channel, delivery.status)
            raise
        if delivery.status is not AlertStatus.SENT:
            logger.warning("%s to %s: %s (%s)", name, alert.channel, delivery.status, delivery.error)

    async def _post(self, alert: Alert, message: dict[str, Any]) -> tuple[Answer, int]:
        """Post with retries; return the last answer and the number of attempts.

        Nothing is posted after a refusal that holds for every message.
        """
        channel, attempts = alert.channel or "", 0
        if self._refusal:
            return self._refusal, attempts

        async def post() -> Answer:
            nonlocal attempts
            self._run.check_stop()
            if attempts:
                # It raises `Interrupted` if the run was closed as dead during the wait, because a person may
                # have resolved the alert since. Otherwise it returns the same claim.
                await asyncio.to_thread(self._run.ledger.claim, self._run.run_id, alert, utc_now())
            attempts += 1
            # The next message waits from this request on, not from its turn: a slow claim may lie between.
            self._pacer.hold(self._interval)
            answer = await self._slack.post(channel, message)
            DELIVERIES.labels(answer.reason if answer.verdict is Verdict.RETRY else answer.verdict).inc()
            if answer.retry_after:
                logger.warning("Slack asks %s to wait %.15g s", channel, answer.retry_after)
            return answer

        try:
            answer = await post_with_retries(post, self._pacer, self._run.settings)
        except (Interrupted, LedgerError) as ended:
            # A stop, or a retry that cannot be claimed. Slack has accepted none of the attempts before.
            answer = Answer(Verdict.RETRY, ended.code, f"Not delivered: {ended}")
        if answer.verdict is Verdict.CHANNEL_REFUSED:
            error = f"Not tried: the channel refuses every message ({answer.error})"
            self._refusal = replace(answer, error=error)
        return answer, attempts

    async def _sleep(self, seconds: float) -> None:
        """Wait; raise `Interrupted` when the run is stopped."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._run.check_stop()
            await asyncio.sleep(min(left, POLL_SECONDS))


def delivery_of(alert: Alert, answer: Answer, attempts: int, now: datetime) -> Delivery:
    """Return the result of an alert from Slack's last answer, which came at `now`."""
    done = {Verdict.DELIVERED: AlertStatus.SENT, Verdict.UNCONFIRMED: AlertStatus.UNCONFIRMED}
    status = done.get(answer.verdict, AlertStatus.FAILED)
    return Delivery(
        *alert.key,
        status,
        alert.channel,
        reason=answer.reason,
        error=answer.error,
        attempts=attempts,
        sent_at=now if status is AlertStatus.SENT else None,
    )
