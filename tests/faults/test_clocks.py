"""A wall clock that jumps an hour back and forth changes stored times and no decision."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from pathlib import Path

import pytest

from core import run as run_module
from core.ledger import Ledger, liveness, this_process
from core.ledger.liveness import ProcessIdentity
from examples.mock_slack import MockSlack
from tasks import send
from tests.delivery.world import accounts, begin, deliver, routed, settings
from tests.waiting import until

HOUR = timedelta(hours=1)


def jumping() -> datetime:
    """Return a time that is an hour ahead, right, or an hour behind, in turn."""
    return datetime.now(UTC) + next(_jumps)


_jumps = cycle([HOUR, -HOUR, timedelta(0)])


@pytest.fixture
def jumping_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the wall clock jump at every reading; make heartbeats frequent and the watch for them short."""
    for module in (run_module, send):
        monkeypatch.setattr(module, "utc_now", jumping)
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(liveness, "WATCH_SECONDS", 0.5)


def test_pacing_and_waits_ignore_the_wall_clock(
    jumping_clock: None, slack: MockSlack, path: Path, ledger: Ledger
) -> None:
    """The rate is two alerts per second, and Slack asks to retry the first after a second."""
    slack.fail("amer", 429, times=1)
    alerts = [routed(f"A-{number}") for number in range(3)]
    began = time.monotonic()
    found = deliver(ledger, alerts, settings(slack.url, path, slack_channel_rate=2))
    assert 1.9 < time.monotonic() - began < 60  # the clock jumps by an hour
    assert found.view.status == "succeeded"
    assert accounts(taken["message"]["text"] for taken in slack.messages) == ["A-0", "A-1", "A-2"]
    ledger.close()


ELSEWHERE = replace(this_process(), host="another-host")


@contextmanager
def beating(ledger: Ledger) -> Iterator[None]:
    """Write heartbeats of a run whose clock is right; the watch for them ends with the next one."""
    over, beats = threading.Event(), list[None]()

    def beat() -> None:
        while not over.wait(0.1):
            ledger.heartbeat("alive", datetime.now(UTC))
            beats.append(None)

    def watch(_: object) -> None:
        # A heartbeat that is being written now may be older than the watch.
        before = len(beats)
        until(lambda: len(beats) > before + 1)

    thread = threading.Thread(target=beat)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(liveness, "wait_for_heartbeats", watch)
        try:
            yield
        finally:
            over.set()
            thread.join()


@pytest.mark.parametrize("owner", [this_process(), ELSEWHERE], ids=["this host", "another host"])
def test_clock_jump_closes_no_live_run(
    jumping_clock: None, slack: MockSlack, path: Path, ledger: Ledger, owner: ProcessIdentity
) -> None:
    begin(ledger, "alive", [routed("A-1")], owner=owner)
    with beating(ledger):
        for number in range(3):
            deliver(ledger, [routed(f"B-{number}")], settings(slack.url, path))
        assert ledger.history.run("alive").status == "running"
    assert len(slack.messages) == 3


@pytest.mark.parametrize("owner", [this_process(), ELSEWHERE], ids=["this host", "another host"])
@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["set forward", "set back"])
def test_silent_run_is_watched_then_closed(
    jumping_clock: None, ledger: Ledger, jump: timedelta, owner: ProcessIdentity
) -> None:
    """For example, its process hangs or is stopped."""
    begin(ledger, "silent", [routed("A-1")], owner=owner)
    ledger.heartbeat("silent", datetime.now(UTC))
    began = time.monotonic()
    ledger.close_dead_runs(datetime.now(UTC) + jump)
    assert time.monotonic() - began >= 0.5
    assert ledger.history.run("silent").status == "failed"
    ledger.close()
