"""Claim, post, record: the outcome of each answer, independent lanes, and replay."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import pytest

from core.domain import AlertStatus, Delivery, InternalError, TooManyAlerts
from core.ledger import Ledger
from core.run import RunContext
from core.runtime import Settings
from core.slack import Answer, Pacer, SlackWebhooks, Sleep
from examples.mock_slack import MockSlack
from tasks import send as send_module
from tasks.persist import persist
from tests.delivery.world import (
    NOW,
    Delivered,
    accounts,
    begin,
    deliver,
    key,
    look,
    open_at,
    outcomes,
    query,
    routed,
    settings,
    stop_when,
)
from tests.slack.clock import Clock
from tests.slack.hostile import HostileSlack, answer, raw, reset, silence, slowly

OK = answer(200, "ok")


def seen(slack: HostileSlack, path: str | None = None) -> list[str]:
    """Return the accounts of the requests that Slack got, oldest first."""
    requests = slack.requests if path is None else slack.received(path)
    return accounts(request.message["text"] for request in requests)


@pytest.mark.parametrize(
    ("replies", "status", "reason", "attempts"),
    [
        pytest.param([OK], "sent", None, 1, id="200"),
        pytest.param([answer(503), answer(429), OK], "sent", None, 3, id="at the third try"),
        pytest.param([answer(500)], "failed", "server_error", 3, id="500 to the last try"),
        pytest.param([answer(429)], "failed", "rate_limited", 3, id="429 to the last try"),
        pytest.param(
            [answer(429, headers={"Retry-After": "86400"})], "failed", "rate_limited", 1, id="a day"
        ),
        pytest.param([answer(400, "invalid_payload")], "failed", "invalid_payload", 1, id="400"),
        pytest.param([answer(404, "channel_not_found")], "failed", "channel_not_found", 1, id="404"),
        pytest.param([answer(302, headers={"Location": "/"})], "failed", "redirected", 1, id="redirect"),
        pytest.param([answer(200, '{"ok": false, "error": "x_y_z"}')], "failed", "x_y_z", 1, id="ok: false"),
        pytest.param([reset], "unconfirmed", "no_answer", 1, id="reset"),
        pytest.param([silence], "unconfirmed", "no_answer", 1, id="silence"),
        pytest.param([raw(b"\x00\x01garbage\r\n\r\n")], "unconfirmed", "no_answer", 1, id="garbage"),
        pytest.param([answer(500), reset], "unconfirmed", "no_answer", 2, id="500, then reset"),
    ],
)
def test_each_answer_has_its_outcome(
    slack: HostileSlack,
    ledger: Ledger,
    path: Path,
    replies: list[Any],
    status: str,
    reason: str | None,
    attempts: int,
) -> None:
    slack.script("/amer", *replies)
    run = deliver(
        ledger,
        [routed("A-1")],
        settings(slack.url, path, slack_timeout_seconds=0.3 if silence in replies else 10),
    )
    columns = "status, reason, attempts, channel, error IS NULL, sent_at IS NULL"
    expected = (status, reason, attempts, "amer", status == "sent", status != "sent")
    for table in ("alert_outcomes", "run_alerts"):
        assert query(path, f"SELECT {columns} FROM {table}") == [expected]  # noqa: S608
    assert len(slack.requests) == attempts
    assert run.view.status == "succeeded"
    assert run.view.counts.alerts_sent == (status == "sent")
    assert run.view.counts.failed_deliveries == (status != "sent")
    assert run.view.counts.unconfirmed == (status == "unconfirmed")


def test_missing_slack_fails_every_alert(ledger: Ledger, path: Path) -> None:
    alerts = [routed("A-1"), routed("A-2", "emea"), routed("A-3", None)]
    run = deliver(ledger, alerts, settings("http://127.0.0.1:9", path))
    assert run.view.status == "succeeded"
    assert run.reasons == {"A-1": "connection_failed", "A-2": "connection_failed", "A-3": "unknown_region"}
    assert (run.view.counts.failed_deliveries, run.view.counts.unknown_region) == (3, 1)


def test_claim_is_recorded_before_its_request(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    states: list[list[Any]] = []

    async def look_first(writer: Any) -> None:
        states.append(query(path, "SELECT account_id, status FROM alert_outcomes ORDER BY account_id"))
        await OK(writer)

    slack.script("/amer", look_first)
    deliver(ledger, [routed("A-1"), routed("A-2")], settings(slack.url, path))
    assert states == [[("A-1", "sending")], [("A-1", "sent"), ("A-2", "sending")]]


def test_no_answer_is_recorded_before_the_next_claim(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    states: list[Any] = []

    async def look_first(writer: Any) -> None:
        states.append(outcomes(path))
        await OK(writer)

    slack.script("/amer", reset, look_first)
    deliver(ledger, [routed("A-1"), routed("A-2")], settings(slack.url, path))
    assert states == [{"A-1": ("unconfirmed", "no_answer"), "A-2": ("sending", None)}]


def test_unbuilt_message_is_never_claimed(
    slack: HostileSlack, ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*_: Any, **__: Any) -> dict[str, Any]:
        raise ZeroDivisionError

    monkeypatch.setattr(send_module, "build_message", build)
    with pytest.raises(InternalError):
        deliver(ledger, [routed("A-1")], settings(slack.url, path), "run-1")
    assert outcomes(path) == {}
    assert look(ledger, "run-1").reasons == {"A-1": "internal_error"}
    assert slack.requests == []


def test_defect_during_a_request_is_unconfirmed(
    slack: HostileSlack, ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def post(*_: Any) -> Answer:
        raise ZeroDivisionError

    monkeypatch.setattr(SlackWebhooks, "post", post)
    with pytest.raises(InternalError):
        deliver(ledger, [routed("A-1"), routed("A-2")], settings(slack.url, path), "run-1")
    assert outcomes(path) == {"A-1": ("unconfirmed", "process_died")}
    assert look(ledger, "run-1").statuses == {"A-1": "unconfirmed", "A-2": "failed"}


def test_429_delays_only_its_channel(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    slack.script("/amer", answer(429, headers={"Retry-After": "110"}), OK)
    alerts = [routed(f"{channel}-{number}", channel) for number in range(3) for channel in ("amer", "emea")]

    def emea_is_done() -> bool:
        return [outcomes(path).get(f"emea-{number}") for number in range(3)] == [("sent", None)] * 3

    stop_when(emea_is_done, ledger, alerts, settings(slack.url, path))
    assert seen(slack, "/amer") == ["amer-0"]
    assert seen(slack, "/emea") == ["emea-0", "emea-1", "emea-2"]


def test_order_is_kept_after_retry_after(
    slack: HostileSlack, ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slack.script("/amer", answer(429, headers={"Retry-After": "1"}), OK)
    run = deliver(ledger, [routed(f"A-{number}") for number in range(3)], settings(slack.url, path))
    assert run.view.counts.alerts_sent == 3
    assert seen(slack) == ["A-0", "A-0", "A-1", "A-2"]
    assert slack.requests[1].at - slack.requests[0].at >= 0.95
    assert "Slack asks amer to wait 1 s" in caplog.messages


def test_next_message_waits_after_a_last_429(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    slack.script("/amer", answer(429, headers={"Retry-After": "0.6"}), OK)
    chosen = settings(slack.url, path, slack_max_attempts=1, slack_retry_after_max_seconds=0.6)
    run = deliver(ledger, [routed("A-1"), routed("A-2")], chosen)
    assert run.statuses == {"A-1": "failed", "A-2": "sent"}
    assert slack.requests[1].at - slack.requests[0].at >= 0.55


def test_retry_after_beyond_the_limit_delays_no_message(
    slack: HostileSlack, ledger: Ledger, path: Path
) -> None:
    slack.script("/amer", answer(429, headers={"Retry-After": "3600"}), OK)
    run = deliver(ledger, [routed("A-1"), routed("A-2")], settings(slack.url, path))
    assert run.statuses == {"A-1": "failed", "A-2": "sent"}
    assert len(slack.requests) == 2


def test_single_webhook_is_one_lane(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    slack.script("/hook", answer(429, headers={"Retry-After": "0.6"}), slowly(0.1, OK))
    chosen = settings("", path, slack_webhook_base_url=None, slack_webhook_url=f"{slack.url}/hook")
    run = deliver(ledger, [routed("A-1", "amer"), routed("A-2", "emea"), routed("A-3", "apac")], chosen)
    assert run.view.counts.alerts_sent == 3
    times = [request.at for request in slack.requests]
    assert times[1] - times[0] >= 0.55
    assert all(later - earlier >= 0.095 for earlier, later in pairwise(times[1:]))
    assert {text.splitlines()[-1] for text in (request.message["text"] for request in slack.requests)} == {
        "Channel: #amer",
        "Channel: #emea",
        "Channel: #apac",
    }


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (404, "channel_not_found"),
        (410, "channel_is_archived"),
        (404, "no_service"),
        (403, "action_prohibited"),
    ],
)
def test_refused_channel_is_tried_once(
    slack: HostileSlack, ledger: Ledger, path: Path, status: int, word: str
) -> None:
    slack.script("/gone", answer(status, word))
    alerts = [routed(f"A-{number}", "gone") for number in range(5)] + [routed("B-1", "emea")]
    run = deliver(ledger, alerts, settings(slack.url, path))
    assert seen(slack, "/gone") == ["A-0"]
    assert run.reasons == {f"A-{number}": word for number in range(5)} | {"B-1": None}
    assert outcomes(path) == {f"A-{number}": ("failed", word) for number in range(5)} | {
        "B-1": ("sent", None)
    }
    errors = {
        row[0] for row in query(path, "SELECT error FROM run_alerts WHERE attempts = 0 AND status = 'failed'")
    }
    assert errors == {
        f"Not tried: the channel refuses every message (Slack answered {status} {title(status)}: {word})"
    }
    slack.script("/gone", OK)
    assert deliver(ledger, alerts, settings(slack.url, path)).view.counts.alerts_sent == 5


def test_refusal_fails_only_the_alerts_after_it(
    slack: HostileSlack, ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slack.script("/gone", OK, answer(404, "no_service"))
    run = deliver(ledger, [routed(f"A-{number}", "gone") for number in range(4)], settings(slack.url, path))
    assert run.statuses == {"A-0": "sent", "A-1": "failed", "A-2": "failed", "A-3": "failed"}
    attempts = query(path, "SELECT attempts FROM run_alerts ORDER BY account_id")
    assert attempts == [(1,), (1,), (0,), (0,)]
    assert "2 more alerts of that channel are not tried: no_service" in caplog.messages
    assert "A-0" not in caplog.text


def test_log_line_about_an_alert_is_one_line(
    slack: HostileSlack, ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slack.script("/amer", answer(400, "no_text"))
    deliver(ledger, [routed("A\n1")], settings(slack.url, path))
    line = r"at_risk alert of 'A\n1' to amer: failed (Slack answered 400 Bad Request: no_text)"
    assert ("tasks.send", logging.WARNING, line) in caplog.record_tuples


def test_wait_that_slack_asks_for_is_logged(
    slack: HostileSlack, ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slack.script("/amer", answer(429, headers={"Retry-After": "0.1"}), OK)
    deliver(ledger, [routed("A-1")], settings(slack.url, path))
    assert [line for line in caplog.messages if "wait" in line] == ["Slack asks amer to wait 0.1 s"]


def test_refused_last_alert_leaves_none_untried(
    slack: HostileSlack, ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slack.script("/gone", answer(404, "channel_not_found"))
    deliver(ledger, [routed("A-1", "gone")], settings(slack.url, path))
    assert "failed (Slack answered 404" in caplog.text
    assert "not tried" not in caplog.text


def title(status: int) -> str:
    """Return the reason phrase of a status."""
    return {403: "Forbidden", 404: "Not Found", 410: "Gone"}[status]


def test_refused_payload_fails_only_its_alert(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    slack.script("/amer", answer(400, "invalid_payload"), OK)
    run = deliver(ledger, [routed("A-1"), routed("A-2"), routed("A-3")], settings(slack.url, path))
    assert run.statuses == {"A-1": "failed", "A-2": "sent", "A-3": "sent"}


class TimedPacer(Pacer):
    """A pacer without real waits that records the start of each turn and Slack's requests until then."""

    made: ClassVar[list["TimedPacer"]] = []
    slack: ClassVar[HostileSlack]

    def __init__(self, rate: float, *, sleep: Sleep) -> None:  # noqa: ARG002  # its clock's instead
        self._time = Clock()
        super().__init__(rate, sleep=self._time.sleep, clock=self._time)
        self.turns: list[tuple[float, int]] = []
        self.made.append(self)

    async def turn(self) -> None:
        """Take a turn and record it."""
        await super().turn()
        self.turns.append((self._time() - 1000, len(self.slack.requests)))


@pytest.fixture
def pacers(slack: HostileSlack, monkeypatch: pytest.MonkeyPatch) -> list[TimedPacer]:
    """Return the pacers of the lanes; each lane adds one."""
    made: list[TimedPacer] = []
    monkeypatch.setattr(TimedPacer, "made", made)
    monkeypatch.setattr(TimedPacer, "slack", slack, raising=False)
    monkeypatch.setattr(send_module, "Pacer", TimedPacer)
    return made


def test_messages_of_a_channel_are_paced(
    slack: HostileSlack, ledger: Ledger, path: Path, pacers: list[TimedPacer]
) -> None:
    """Retries are paced too. `tests/slack/test_retries.py` tests the length of a turn."""
    slack.script("/amer", OK, answer(503), OK)
    deliver(ledger, [routed("A-1"), routed("A-2"), routed("A-3")], settings(slack.url, path))
    assert [seen_before for _, seen_before in pacers[0].turns] == [0, 1, 2, 3]
    assert seen(slack) == ["A-1", "A-2", "A-2", "A-3"]


def test_each_channel_has_its_own_rate(
    slack: HostileSlack, ledger: Ledger, path: Path, pacers: list[TimedPacer]
) -> None:
    alerts = [routed(f"{channel}-{number}", channel) for channel in ("amer", "emea") for number in range(4)]
    deliver(ledger, alerts, settings(slack.url, path, slack_channel_rate=4))
    assert [[start for start, _ in pacer.turns] for pacer in pacers] == [[0, 0.25, 0.5, 0.75]] * 2


def test_replay_sends_only_failed_alerts(ledger: Ledger, path: Path) -> None:
    alerts = [routed("A-1"), routed("A-2", "emea"), routed("A-3", None)]
    with MockSlack() as mock:
        mock.fail("emea", 500)
        chosen = settings(mock.url, path)
        first = deliver(ledger, alerts, chosen)
        assert first.statuses == {"A-1": "sent", "A-2": "failed", "A-3": "failed"}
        mock.fail("emea", 200)
        second = deliver(ledger, alerts, chosen)
        assert second.statuses == {"A-1": "skipped_replay", "A-2": "sent", "A-3": "failed"}
        third = deliver(ledger, [*alerts[:2], routed("A-3", "apac")], chosen)
        assert third.statuses == {"A-1": "skipped_replay", "A-2": "skipped_replay", "A-3": "sent"}
        assert sorted(accounts(item["message"]["text"] for item in mock.messages)) == ["A-1", "A-2", "A-3"]
    assert look(ledger, first.view.run_id) == first


def test_unconfirmed_is_retried_only_when_asked(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    slack.script("/amer", reset, OK)
    chosen = settings(slack.url, path)
    assert deliver(ledger, [routed("A-1")], chosen).statuses == {"A-1": "unconfirmed"}
    replay = deliver(ledger, [routed("A-1")], chosen)
    assert replay.statuses == {"A-1": "unconfirmed"}
    assert replay.view.counts.unconfirmed == 1
    assert len(slack.requests) == 1
    assert deliver(ledger, [routed("A-1")], chosen, retry_unconfirmed=True).statuses == {"A-1": "sent"}
    assert deliver(ledger, [routed("A-1")], chosen, retry_unconfirmed=True).statuses == {
        "A-1": "skipped_replay"
    }
    assert len(slack.requests) == 2


def test_refused_retry_stays_unconfirmed(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    slack.script("/amer", reset, reset, answer(404, "no_service"))
    chosen = settings(slack.url, path)
    alerts = [routed("A-1"), routed("A-2")]
    deliver(ledger, alerts, chosen)
    again = deliver(ledger, alerts, chosen, retry_unconfirmed=True)
    assert again.statuses == {"A-1": "unconfirmed", "A-2": "unconfirmed"}
    slack.script("/amer", OK)
    assert deliver(ledger, alerts, chosen).view.counts.alerts_sent == 0
    assert len(slack.requests) == 3


def test_dry_run_writes_no_outcome(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    run = deliver(ledger, [routed("A-1"), routed("A-2", None)], settings(slack.url, path), dry_run=True)
    assert run.statuses == {"A-1": "would_send", "A-2": "failed"}
    assert (slack.requests, outcomes(path)) == ([], {})


@pytest.mark.parametrize("dry_run", [False, True])
def test_run_over_its_limit_sends_none(
    slack: HostileSlack, ledger: Ledger, path: Path, *, dry_run: bool
) -> None:
    alerts = [routed("A-1"), routed("A-2"), routed("A-3", None)]
    with pytest.raises(TooManyAlerts):
        deliver(ledger, alerts, settings(slack.url, path, max_alerts_per_run=1), "run-1", dry_run=dry_run)
    run = look(ledger, "run-1")
    assert run.reasons == {"A-1": "too_many_alerts", "A-2": "too_many_alerts", "A-3": "unknown_region"}
    assert (run.view.counts.failed_deliveries, slack.requests, outcomes(path)) == (3, [], {})
    assert (
        deliver(ledger, alerts, settings(slack.url, path, max_alerts_per_run=2)).view.counts.alerts_sent == 2
    )


def test_without_alerts_no_slack_is_needed(ledger: Ledger, path: Path) -> None:
    nowhere = settings("", path, slack_webhook_base_url=None)
    run = deliver(ledger, [routed("A-1", None)], nowhere)
    assert run.statuses == {"A-1": "failed"}


def test_persist_stores_how_the_run_adds_up(ledger: Ledger) -> None:
    request: Any = None
    for item in begin(ledger, "run", [routed("A-1"), routed("A-2"), routed("A-3", None)]):
        ledger.claim("run", item, NOW)
    ledger.record_answer("run", Delivery(key("A-1"), AlertStatus.SENT, "amer", sent_at=NOW), NOW)
    persist.fn(RunContext("run", request, Settings(), ledger))
    counts = ledger.history.run("run").counts
    assert (counts.at_risk, counts.alerts_sent, counts.unknown_region) == (5, 1, 1)


def side_by_side(*calls: Callable[[], Delivered]) -> list[Delivered]:
    """Call each function in its own thread; return their results."""
    found: list[Delivered] = []
    threads = [threading.Thread(target=lambda call=call: found.append(call())) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == len(calls)
    return found


def test_parallel_runs_send_each_alert_once(slack: HostileSlack, path: Path, ledger: Ledger) -> None:
    channels = ("amer", "emea", "apac")
    for channel in channels:
        slack.script(f"/{channel}", slowly(0.01, OK))
    alerts = [routed(f"A-{number:02}", channels[number % 3]) for number in range(36)]
    chosen = settings(slack.url, path)
    others = [open_at(path), open_at(path)]

    def run_of(which: Ledger) -> Callable[[], Delivered]:
        return lambda: deliver(which, alerts, chosen)

    runs = side_by_side(*(run_of(which) for which in (ledger, *others)))
    assert sorted(seen(slack)) == [alert.account_id for alert in alerts]
    assert sum(run.view.counts.alerts_sent for run in runs) == 36
    assert sum(run.view.counts.skipped_replay for run in runs) == 72
    assert {status for status, _ in outcomes(path).values()} == {"sent"}
    for other in others:
        other.close()


def test_alert_of_another_live_run_is_skipped(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    second_is_over = threading.Event()

    async def meanwhile(writer: Any) -> None:
        await asyncio.to_thread(second_is_over.wait)
        await OK(writer)

    slack.script("/amer", meanwhile)
    chosen = settings(slack.url, path)

    def second() -> Delivered:
        while not slack.requests:
            time.sleep(0.01)
        try:
            return deliver(ledger, [routed("A-1")], chosen, "second")
        finally:
            second_is_over.set()

    side_by_side(lambda: deliver(ledger, [routed("A-1")], chosen, "first"), second)
    assert look(ledger, "first").statuses == {"A-1": "sent"}
    assert look(ledger, "second").reasons == {"A-1": "being_sent_by_another_run"}
    assert len(slack.requests) == 1


def test_long_delivery_logs_its_progress(
    slack: HostileSlack,
    ledger: Ledger,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An alert that is not tried counts too."""

    async def after_the_line(writer: asyncio.StreamWriter) -> None:
        while "3 of 4 alerts recorded" not in caplog.messages:  # noqa: ASYNC110  # another thread logs it
            await asyncio.sleep(0.01)
        await OK(writer)

    slack.script("/amer", OK, after_the_line)
    slack.script("/emea", answer(404))
    monkeypatch.setattr(send_module, "PROGRESS_SECONDS", 0.02)
    alerts = [routed("A-1"), routed("A-2"), routed("E-1", "emea"), routed("E-2", "emea")]
    with caplog.at_level("INFO"):
        run = deliver(ledger, alerts, settings(slack.url, path))
    assert run.view.counts.alerts_sent == 2
    assert "Sending 4 alerts" in caplog.messages


def test_progress_is_logged_every_ten_seconds(
    slack: HostileSlack, ledger: Ledger, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No test waits that long; the length of each wait is enough."""
    waits: list[float | None] = []

    async def recorded(tasks: Any, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        waits.append(timeout)
        return await wait(tasks, timeout=timeout)

    wait = asyncio.wait
    monkeypatch.setattr(asyncio, "wait", recorded)
    deliver(ledger, [routed("A-1")], settings(slack.url, path))
    assert 10 in waits


def test_alerts_of_a_lane_keep_their_order(slack: HostileSlack, ledger: Ledger, path: Path) -> None:
    slack.script("/amer", slowly(0.02, OK))
    deliver(ledger, [routed(f"A-{number}") for number in (3, 1, 2)], settings(slack.url, path))
    assert seen(slack) == ["A-3", "A-1", "A-2"]
    times = [request.at for request in slack.requests]
    assert all(later - earlier >= 0.02 for earlier, later in pairwise(times))
