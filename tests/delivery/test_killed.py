"""After kill -9 at any time, no alert is sent twice or lost, and no run stays running."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from core.ledger import Ledger
from tests.delivery.driver import work
from tests.delivery.world import (
    Delivered,
    accounts,
    deliver,
    look,
    open_at,
    outcomes,
    query,
    routed,
    settings,
)
from tests.slack.hostile import HostileSlack, answer, slowly
from tests.waiting import until
from tests.warm import Forked

ROUNDS = 4
KILLS_A_ROUND = 2
CHANNELS = ("amer", "emea", "apac")
PLANNED = [(f"A-{number:02}", CHANNELS[number % 3]) for number in range(30)]
ALERTS = [routed(account, channel) for account, channel in PLANNED]


def kill_in_the_middle(job: dict[str, object], path: Path, chance: random.Random) -> None:
    """Start a run and kill it: before it is recorded, in the middle, or after its end."""
    run = Forked(work, job)
    # Kill one in five without waiting, perhaps before anything was begun.
    if chance.random() < 0.2:
        time.sleep(chance.uniform(0, 0.1))
    else:
        until(lambda: query(path, "SELECT 1 FROM runs WHERE run_id = ?", job["run_id"]))
        time.sleep(chance.uniform(0, 0.35))
    run.send_signal(signal.SIGKILL)
    # The run may have ended first.
    assert run.wait() in {-signal.SIGKILL, 0}


def assert_sent_once(slack: HostileSlack, replay: Delivered) -> set[str]:
    """Assert that each alert was sent once or is unconfirmed; return the unconfirmed ones."""
    seen = Counter(accounts(request.message["text"] for request in slack.requests))
    unconfirmed = {account for account, status in replay.statuses.items() if status == "unconfirmed"}
    assert max(seen.values()) == 1
    assert sorted({*seen, *unconfirmed}) == [account for account, _ in PLANNED]
    counts = replay.view.counts
    assert counts.alerts_sent + counts.skipped_replay + len(unconfirmed) == len(PLANNED)
    return unconfirmed


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_killed_runs_send_nothing_twice(slack: HostileSlack, path: Path, ledger: Ledger, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for channel in CHANNELS:
        slack.script(f"/{channel}", slowly(chance.uniform(0.005, 0.03), answer(200, "ok")))
    killed = [f"killed-{number}" for number in range(KILLS_A_ROUND)]
    for run_id in killed:
        kill_in_the_middle(
            {"url": slack.url, "ledger": f"sqlite:///{path}", "alerts": PLANNED, "run_id": run_id},
            path,
            chance,
        )

    replay = deliver(open_at(path), ALERTS, settings(slack.url, path))

    unconfirmed = assert_sent_once(slack, replay)
    assert len(unconfirmed) <= len(CHANNELS) * KILLS_A_ROUND
    record = {account: status for account, (status, _) in outcomes(path).items()}
    assert record == {account: "unconfirmed" if account in unconfirmed else "sent" for account, _ in PLANNED}
    for (run_id,) in query(path, "SELECT run_id FROM runs WHERE run_id LIKE 'killed-%'"):
        # `look` checks that it is closed and adds up.
        run = look(ledger, run_id)
        if run.view.status == "failed":
            assert run.error == "interrupted"
            assert run.view.counts.unconfirmed <= len(CHANNELS) * (1 + killed.index(run_id))
        elif run.view.status == "succeeded":
            assert run.view.finished_at is not None
