"""Claim, post, record: the outcome of each answer, independent lanes, and replay."""

import logging
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle, pairwise
from pathlib import Path
from typing import Any

import pytest

from core import run as run_module
from core.domain import Alert, Delivery, InternalError
from core.ledger import Ledger
from core.ledger.database import Database
from core.slack import Answer, Pacer, SlackWebhooks
from core.slack.retry import Sleep
from tasks import send as send_module
from tests.delivery.conftest import World
from tests.delivery.world import accounts, at_once, deliver, query, routed, settings, stop_when
from tests.postgresql import Server
from tests.slack.hostile import HostileSlack, Reply, after, answer, held, reset, slowly
from tests.waiting import Clock

OK = answer(200, "ok")


@pytest.mark.parametrize(
    ("replies", "status", "reason", "attempts"),
    [
        pytest.param([answer(503), answer(429), OK], "sent", None, 3, id="sent at the third attempt"),
        pytest.param([answer(500)], "failed", "server_error", 3, id="500 to the last attempt"),
        pytest.param([answer(400, "invalid_payload")], "failed", "invalid_payload", 1, id="400"),
        pytest.param([answer(404, "channel_not_found")], "failed", "channel_not_found", 1, id="404"),
        pytest.param([answer(500), reset], "unconfirmed", "no_answer", 2, id="500, then reset"),
    ],
)
def test_each_answer_has_its_outcome(
    world: World, replies: list[Any], status: str, reason: str | None, attempts: int
) -> None:
    world.slack.script("/amer", *replies)
    run = world.deliver([routed("A-1")])
    columns = "status, reason, attempts, channel, error IS NULL, sent_at IS NULL"
    expected = (status, reason, attempts, "amer", status == "sent", status != "sent")
    for table in ("alert_outcomes", "run_alerts"):
        assert query(world.path, f"SELECT {columns} FROM {table}") == [expected]  # noqa: S608
    assert len(world.slack.requests) == attempts
    assert run.view.status == "succeeded"


def test_claim_precedes_its_request_and_result_the_next_claim(world: World) -> None:
    states: list[Any] = []
    replies = (after(lambda: states.append(world.outcomes()), then) for then in (OK, reset, OK))
    world.slack.script("/amer", *replies)
    world.deliver([routed("A-1"), routed("A-2"), routed("A-3")])
    sending = ("sending", None)
    assert states == [
        {"A-1": sending},
        {"A-1": ("sent", None), "A-2": sending},
        {"A-1": ("sent", None), "A-2": ("unconfirmed", "no_answer"), "A-3": sending},
    ]


def test_unbuilt_message_is_never_claimed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any, **__: Any) -> dict[str, Any]:
        raise ZeroDivisionError

    monkeypatch.setattr(send_module, "build_message", build)
    with pytest.raises(InternalError):
        world.deliver([routed("A-1")], "run-1")
    assert world.outcomes() == {}
    assert world.look().reasons == {"A-1": "internal_error"}
    assert world.slack.requests == []


def test_defect_during_a_request_is_unconfirmed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def post(*_: Any) -> Answer:
        raise ZeroDivisionError

    monkeypatch.setattr(SlackWebhooks, "post", post)
    with pytest.raises(InternalError):
        world.deliver([routed("A-1"), routed("A-2")], "run-1")
    assert world.outcomes() == {"A-1": ("unconfirmed", "process_died")}
    assert world.look().statuses == {"A-1": "unconfirmed", "A-2": "failed"}


def test_429_delays_only_its_channel(world: World) -> None:
    world.slack.script("/amer", answer(429, headers={"Retry-After": "110"}), OK)
    alerts = [routed(f"{channel}-{number}", channel) for number in range(3) for channel in ("amer", "emea")]

    def emea_is_done() -> bool:
        return [world.outcomes().get(f"emea-{number}") for number in range(3)] == [("sent", None)] * 3

    stop_when(emea_is_done, world.run(), alerts)
    assert world.seen("/amer") == ["amer-0"]
    assert world.seen("/emea") == ["emea-0", "emea-1", "emea-2"]


def test_order_is_kept_after_retry_after(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.slack.script("/amer", answer(429, headers={"Retry-After": "0.6"}), slowly(0.02, OK))
    run = world.deliver([routed(f"A-{number}") for number in (3, 1, 2)])
    assert run.view.counts.alerts_sent == 3
    assert world.seen() == ["A-3", "A-3", "A-1", "A-2"]
    waits = [later.at - earlier.at for earlier, later in pairwise(world.slack.requests)]
    assert waits[0] >= 0.55
    assert min(waits[1:]) >= 0.02
    assert "Slack asks amer to wait 0.6 s" in caplog.messages


def test_next_message_waits_after_a_last_429(world: World) -> None:
    world.slack.script("/amer", answer(429, headers={"Retry-After": "0.6"}), OK)
    patience = {"slack_max_attempts": 1, "slack_retry_after_max_seconds": 0.6}
    run = world.deliver([routed("A-1"), routed("A-2")], **patience)
    assert run.statuses == {"A-1": "failed", "A-2": "sent"}
    assert world.slack.requests[1].at - world.slack.requests[0].at >= 0.55


def test_single_webhook_is_one_lane(world: World) -> None:
    world.slack.script("/hook", answer(429, headers={"Retry-After": "0.6"}), slowly(0.1, OK))
    webhook = {"slack_webhook_base_url": None, "slack_webhook_url": f"{world.slack.url}/hook"}
    run = world.deliver([routed("A-1", "amer"), routed("A-2", "emea"), routed("A-3", "apac")], **webhook)
    assert run.view.counts.alerts_sent == 3
    times = [request.at for request in world.slack.requests]
    assert times[1] - times[0] >= 0.55
    assert all(later - earlier >= 0.095 for earlier, later in pairwise(times[1:]))


def test_refused_channel_is_not_tried_again(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.slack.script("/gone", OK, answer(404, "no_service"))
    alerts = [routed(f"A-{number}", "gone") for number in range(4)] + [routed("B-1", "emea")]
    run = world.deliver(alerts)
    assert world.seen("/gone") == ["A-0", "A-1"]
    refused = dict.fromkeys(("A-1", "A-2", "A-3"), "no_service")
    assert run.reasons == {"A-0": None, "B-1": None} | refused
    assert {name: reason for name, (_, reason) in world.outcomes().items()} == run.reasons
    untried = query(world.path, "SELECT account_id, error FROM run_alerts WHERE attempts = 0")
    error = "Not tried: the channel refuses every message (Slack answered 404 Not Found: no_service)"
    assert sorted(untried) == [("A-2", error), ("A-3", error)]
    assert f"at_risk alert of 'A-3' to gone: failed ({error})" in caplog.messages
    assert "A-0" not in caplog.text
    world.slack.script("/gone", OK)
    assert world.deliver(alerts).view.counts.alerts_sent == 3


def test_log_line_about_an_alert_is_one_line(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.slack.script("/amer", answer(400, "no_text"))
    world.deliver([routed("A\n1")])
    line = r"at_risk alert of 'A\n1' to amer: failed (Slack answered 400 Bad Request: no_text)"
    assert ("tasks.send", logging.WARNING, line) in caplog.record_tuples


@pytest.mark.parametrize(
    "refusal",
    [answer(400, "invalid_payload"), answer(429, headers={"Retry-After": "3600"})],
    ids=["refused", "asked to wait too long"],
)
def test_refused_message_fails_only_its_alert(world: World, refusal: Reply) -> None:
    world.slack.script("/amer", refusal, OK)
    run = world.deliver([routed("A-1"), routed("A-2"), routed("A-3")])
    assert run.statuses == {"A-1": "failed", "A-2": "sent", "A-3": "sent"}
    assert len(world.slack.requests) == 3


def test_each_channel_is_paced_retries_included(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[list[tuple[float, int]]] = []
    """Of each lane: the start of each turn, without real waits, and Slack's requests until then."""

    class TimedPacer(Pacer):
        def __init__(self, sleep: Sleep) -> None:  # noqa: ARG002  # its clock's instead
            self._time = Clock()
            super().__init__(self._time.sleep, self._time)
            turns.append([])
            self._turns = turns[-1]

        async def turn(self) -> None:
            await super().turn()
            self._turns.append((self._time() - 1000, len(world.slack.requests)))

    monkeypatch.setattr(send_module, "Pacer", TimedPacer)
    world.slack.script("/amer", OK, answer(503), OK)
    alerts = [routed(f"{channel}-{number}", channel) for channel in ("amer", "emea") for number in range(3)]
    world.deliver(alerts[:3])
    assert [requests for _, requests in turns.pop()] == [0, 1, 2, 3]
    alerts += [routed(f"A-{number}") for number in range(3)]
    world.deliver(alerts, slack_channel_rate=4)
    assert [[start for start, _ in lane] for lane in turns] == [[0, 0.25, 0.5]] * 2


@pytest.mark.parametrize("replies", [[OK], [answer(503), OK]], ids=["of a message", "of its retry"])
def test_pace_counts_from_the_request(
    replies: list[Reply], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow claim delays the request after its turn; the next request must still keep the pace."""
    clock, times = Clock(), list[float]()
    claim, post = world.ledger.claim, SlackWebhooks.post

    def claim_slowly(run_id: str, alert: Alert, now: datetime) -> Delivery:
        clock.now += 5 if alert.account_id == "A-1" else 0
        return claim(run_id, alert, now)

    async def post_timed(webhooks: SlackWebhooks, channel: str, message: dict[str, Any]) -> Answer:
        times.append(clock())
        return await post(webhooks, channel, message)

    monkeypatch.setattr(world.ledger, "claim", claim_slowly)
    monkeypatch.setattr(SlackWebhooks, "post", post_timed)
    monkeypatch.setattr(send_module, "Pacer", lambda _: Pacer(clock.sleep, clock))
    world.slack.script("/amer", *replies)
    world.deliver([routed("A-1"), routed("A-2")], slack_channel_rate=1, slack_backoff_seconds=0)
    assert world.seen()[-2:] == ["A-1", "A-2"]
    assert times[-1] - times[-2] == 1


def test_pacing_and_waits_ignore_the_wall_clock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    jumps = cycle([timedelta(hours=1), timedelta(hours=-1), timedelta(0)])
    for module in (run_module, send_module):
        monkeypatch.setattr(module, "utc_now", lambda: datetime.now(UTC) + next(jumps))
    world.slack.script("/amer", answer(429, headers={"Retry-After": "1"}), OK)
    began = time.monotonic()
    alerts = [routed(f"A-{number}") for number in range(3)]
    found = world.deliver(alerts, slack_channel_rate=2)
    assert 1.9 < time.monotonic() - began < 60  # the wait for Slack, and two turns; not an hour
    assert found.view.status == "succeeded"
    assert world.seen() == ["A-0", "A-0", "A-1", "A-2"]


def test_replay_sends_only_failed_alerts(world: World) -> None:
    alerts = [routed("A-1"), routed("A-2", "emea"), routed("A-3", None)]
    world.slack.script("/emea", *[answer(500)] * 3, OK)
    first = world.deliver(alerts, "run-1")
    assert first.statuses == {"A-1": "sent", "A-2": "failed", "A-3": "failed"}
    second = world.deliver(alerts)
    assert second.statuses == {"A-1": "skipped_replay", "A-2": "sent", "A-3": "failed"}
    third = world.deliver([*alerts[:2], routed("A-3", "apac")])
    assert third.statuses == {"A-1": "skipped_replay", "A-2": "skipped_replay", "A-3": "sent"}
    assert sorted(world.seen()) == ["A-1", *["A-2"] * 4, "A-3"]
    assert world.look() == first


@pytest.mark.parametrize("backend", ["sqlite", "postgresql", "behind PgBouncer"])
def test_parallel_runs_send_each_alert_once(
    slack: HostileSlack, path: Path, backend: str, request: pytest.FixtureRequest
) -> None:
    """Each run has connections of its own; PgBouncer assigns a server connection to each transaction."""
    channels = ("amer", "emea", "apac")
    for channel in channels:
        slack.script(f"/{channel}", slowly(0.01, OK))
    alerts = [routed(f"A-{number:02}", channels[number % 3]) for number in range(36)]
    with ExitStack() as stack:
        url = f"sqlite:///{path}"
        if backend != "sqlite":
            server: Server = request.getfixturevalue("postgresql")
            url = server.new_database()
            url = stack.enter_context(server.pgbouncer())(url) if "PgBouncer" in backend else url
        ledgers = [stack.enter_context(closing(Ledger(Database(url)))) for _ in range(4)]
        runs = at_once(*(partial(deliver, each, alerts, settings(slack.url, url)) for each in ledgers))
    sent = accounts(request.message["text"] for request in slack.requests)
    assert sorted(sent) == [alert.account_id for alert in alerts]
    counts = [run.view.counts for run in runs]
    assert sum(found.alerts_sent for found in counts) == len(alerts)
    assert all(found.alerts_sent + found.skipped_replay == len(alerts) for found in counts)


def test_long_delivery_logs_its_progress(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An alert that is not tried counts too."""
    world.slack.script("/amer", OK, held(lambda: "3 of 4 alerts recorded" in caplog.messages, OK))
    world.slack.script("/emea", answer(404))
    monkeypatch.setattr(send_module, "PROGRESS_SECONDS", 0.02)
    alerts = [routed("A-1"), routed("A-2"), routed("E-1", "emea"), routed("E-2", "emea")]
    with caplog.at_level("INFO"):
        run = world.deliver(alerts)
    assert run.view.counts.alerts_sent == 2
    assert "Sending 4 alerts" in caplog.messages
