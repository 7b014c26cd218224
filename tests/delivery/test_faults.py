"""A ledger that fails during a run, and a run that is stopped."""

import asyncio
import threading
import time
from contextlib import ExitStack, closing
from datetime import datetime
from typing import Any

import pytest

from core.domain import Alert, Decision, Delivery, Interrupted, LedgerError, Resolution
from core.ledger import Ledger
from core.ledger.database import Database
from core.run import STOPPED, RunContext
from core.runtime import Settings
from tasks.send import Lane
from tests.delivery.conftest import World
from tests.delivery.world import (
    MONTH,
    NOW,
    REQUEST,
    close_as_dead,
    deliver,
    failing,
    key,
    query,
    routed,
    send_in_a_run,
    settings,
    stop_when,
)
from tests.postgresql import Server
from tests.slack.hostile import HostileSlack, after, answer, held, slowly
from tests.waiting import Clock, until

OK = answer(200, "ok")


def test_failed_claim_stops_every_lane(world: World) -> None:
    channels = ("amer", "emea", "apac")
    for channel in channels:
        world.slack.script(f"/{channel}", slowly(0.03, OK))
    alerts = [routed(f"A-{number:02}", channels[number % 3]) for number in range(30)]
    full = "INSERT ON alert_outcomes WHEN (SELECT count(*) FROM alert_outcomes) >= 7"
    with failing(world.path, full), pytest.raises(LedgerError, match="disk on fire"):
        world.deliver(alerts, "run-1")
    assert len(world.slack.requests) <= 7
    # Requests in flight got their answer; claims without a request were given up.
    run = world.look()
    sent = [account for account, (status, _) in world.outcomes().items() if status == "sent"]
    assert sorted(world.seen()) == sorted(sent)
    assert run.view.counts.unconfirmed == 0
    assert run.view.counts.alerts_sent == len(world.slack.requests)
    assert run.error == "ledger_unavailable"
    assert set(run.reasons.values()) <= {None, "interrupted", "ledger_unavailable"}
    replay = world.deliver(alerts)
    assert replay.view.counts.alerts_sent + run.view.counts.alerts_sent == 30
    assert sorted(world.seen()) == [alert.account_id for alert in alerts]


def test_run_that_was_closed_as_dead_stops_every_lane(world: World) -> None:
    closed = threading.Event()
    world.slack.script("/amer", answer(429, headers={"Retry-After": "60"}))
    world.slack.script("/emea", held(closed.is_set, OK))
    alerts = [routed("A-1"), routed("B-1", "emea"), routed("B-2", "emea")]

    async def run() -> None:
        task = asyncio.create_task(send_in_a_run(world.run(), alerts))
        await asyncio.to_thread(until, lambda: len(world.slack.requests) == 2)
        close_as_dead(world.ledger)
        closed.set()
        with pytest.raises(Interrupted, match="Another process closed the run"):
            await task

    asyncio.run(run())
    assert sorted(world.seen()) == ["A-1", "B-1"]
    assert world.look().statuses == {"A-1": "failed", "B-1": "sent", "B-2": "failed"}


def test_run_that_was_closed_as_dead_retries_nothing(world: World) -> None:
    """The process lives, but could not write its heartbeat while it waited for Slack."""

    def resolve_and_send() -> None:
        close_as_dead(world.ledger)
        world.ledger.resolve(Resolution(key("A-1"), MONTH, Decision.SEND_AGAIN, "ana", None, NOW))
        world.deliver([routed("A-1")], "run-2")

    world.slack.script("/amer", after(resolve_and_send, answer(429)), OK)
    with pytest.raises(Interrupted, match="Another process closed the run"):
        world.deliver([routed("A-1"), routed("A-2")], "run-1")
    assert len(world.slack.requests) == 2
    assert world.outcomes() == {"A-1": ("sent", None)}
    assert world.look().reasons == {"A-1": "interrupted", "A-2": "interrupted"}


def test_claim_is_unsent_when_another_lane_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow_or_broken(run_id: str, alert: Alert, now: datetime) -> Delivery:
        if alert.channel == "emea":
            raise LedgerError("disk on fire")
        claim = really(run_id, alert, now)
        until(lambda: run.stop)
        return claim

    really = world.ledger.claim
    monkeypatch.setattr(world.ledger, "claim", slow_or_broken)
    run = world.run()
    with pytest.raises(LedgerError, match="disk on fire"):
        asyncio.run(send_in_a_run(run, [routed("A-1"), routed("A-2"), routed("E-1", "emea")]))
    assert world.slack.requests == []
    assert world.outcomes() == {"A-1": ("failed", "interrupted")}
    unclaimed = dict.fromkeys(("A-2", "E-1"), "ledger_unavailable")
    assert world.look().reasons == {"A-1": "interrupted"} | unclaimed


def test_alert_whose_retry_cannot_be_claimed_has_failed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This failure is confirmed: the alert is not in the channel."""

    def break_second(run_id: str, alert: Alert, now: datetime) -> Delivery:
        claims.append(alert.account_id)
        if claims == ["A-1", "A-1"]:
            raise LedgerError("disk on fire")
        return really(run_id, alert, now)

    claims: list[str] = []
    really = world.ledger.claim
    monkeypatch.setattr(world.ledger, "claim", break_second)
    world.slack.script("/amer", answer(503), OK)
    world.deliver([routed("A-1"), routed("A-2")])
    assert world.outcomes() == {"A-1": ("failed", "ledger_unavailable"), "A-2": ("sent", None)}


def test_unwritable_ledger_ends_the_run(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Only the log has the answer that could not be recorded."""
    alerts = [routed("A-1"), routed("A-2")]
    with ExitStack() as unwritable:

        def make_unwritable() -> None:
            # The next claim could be written.
            for table in ("alert_outcomes", "runs"):
                unwritable.enter_context(failing(world.path, f"UPDATE ON {table}"))

        world.slack.script("/amer", after(make_unwritable, OK), OK)
        with pytest.raises(LedgerError, match="disk on fire"):
            world.deliver(alerts, "run-1")
        assert query(world.path, "SELECT status FROM runs") == [("running",)]
        assert world.outcomes() == {"A-1": ("sending", None)}
    assert "at_risk alert of 'A-1' to amer: sent, not recorded" in caplog.messages
    replay = world.deliver(alerts)
    assert world.look().statuses == {"A-1": "unconfirmed", "A-2": "failed"}
    assert replay.statuses == {"A-1": "unconfirmed", "A-2": "sent"}
    assert sorted(world.seen()) == ["A-1", "A-2"]


def test_fault_of_the_ledger_during_a_stop_is_not_hidden(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_and_fail(*_: object) -> None:
        run.stop = True
        raise LedgerError("disk on fire")

    monkeypatch.setattr(world.ledger, "record_answer", stop_and_fail)
    run = world.run()
    with pytest.raises(LedgerError, match="disk on fire"):
        asyncio.run(send_in_a_run(run, [routed("A-1")]))
    assert world.look().error == "ledger_unavailable"


def test_stop_waits_for_answers_in_flight(world: World) -> None:
    channels = ("amer", "emea", "apac")
    context = world.run(slack_backoff_seconds=60)
    world.slack.script("/amer", held(lambda: context.stop, OK))
    world.slack.script("/emea", answer(429, headers={"Retry-After": "60"}))
    world.slack.script("/apac", answer(503))
    alerts = [routed(f"{channel}-{number}", channel) for channel in channels for number in range(3)]
    stop_when(lambda: len(world.slack.requests) == 3, context, alerts)
    assert sorted(world.seen()) == ["amer-0", "apac-0", "emea-0"]
    run = world.look()
    assert run.statuses == dict.fromkeys(run.statuses, "failed") | {"amer-0": "sent"}
    assert set(run.reasons.values()) == {None, "interrupted"}
    assert (run.view.status, run.error) == ("failed", "interrupted")
    stopped = ("failed", "interrupted")
    assert world.outcomes() == {"amer-0": ("sent", None), "emea-0": stopped, "apac-0": stopped}
    assert query(world.path, "SELECT attempts FROM alert_outcomes") == [(1,)] * 3
    for channel in channels:
        world.slack.script(f"/{channel}", OK)
    assert world.deliver(alerts, slack_backoff_seconds=60).view.counts.alerts_sent == 8


def test_stopped_retry_keeps_its_attempts(world: World) -> None:
    short, long = (answer(429, headers={"Retry-After": seconds}) for seconds in ("0.01", "100"))
    world.slack.script("/amer", short, long)
    stop_when(lambda: len(world.slack.requests) == 2, world.run(), [routed("A-1")])
    assert query(world.path, "SELECT status, reason, error, attempts FROM alert_outcomes") == [
        ("failed", "interrupted", f"Not delivered: {STOPPED}", 2)
    ]


def test_lane_waits_exactly_its_time_unless_stopped(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    no_slack: Any = None
    run = RunContext("run-1", REQUEST, Settings(), ledger)
    clock, lane = Clock(), Lane(run, no_slack, [])
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        assert seconds > 0
        waits.append(seconds)
        await clock.sleep(seconds)

    monkeypatch.setattr(time, "monotonic", clock)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    asyncio.run(lane._sleep(0.5))
    assert waits == pytest.approx([0.2, 0.2, 0.1])
    run.stop = True
    with pytest.raises(Interrupted):
        asyncio.run(lane._sleep(60))


def test_closed_event_loop_loses_no_answer(world: World) -> None:
    """Prefect turns SIGTERM into an exception that ends the event loop of the flow."""

    async def run() -> None:
        task = asyncio.create_task(send_in_a_run(context, [routed("A-1"), routed("A-2")]))
        await asyncio.to_thread(until, lambda: bool(world.slack.requests))
        for other in asyncio.all_tasks() - {asyncio.current_task()}:
            other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    context = world.run()
    world.slack.script("/amer", held(lambda: context.stop, OK))
    asyncio.run(run())
    assert world.look().statuses == {"A-1": "sent", "A-2": "failed"}
    assert world.outcomes() == {"A-1": ("sent", None)}


def test_run_survives_a_restart_of_its_database(
    slack: HostileSlack, postgresql: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two transactions, another connection can replace the lost one."""
    url = postgresql.new_database()
    waits: list[list[float]] = []
    cut = after(lambda: postgresql.end_connections(url), OK)
    restart = after(lambda: waits.append(postgresql.stop_until_a_retry(monkeypatch)), OK)
    slack.script("/amer", OK, cut, OK, restart, OK)
    alerts = [routed(f"A-{number}") for number in range(6)]
    try:
        with closing(Ledger(Database(url))) as ledger:
            run = deliver(ledger, alerts, settings(slack.url, url))
    finally:
        postgresql.ensure_up()
    assert all(waits)
    assert set(run.statuses.values()) == {"sent"}
    assert len(slack.requests) == len(alerts)
